# Tasks stand in the public networks, with addresses of their own and no way in: what is sent to YouTube
# would cost a fee for each gigabyte through a NAT gateway. Database and queue have no way out at all.

locals {
  zones = { for number, letter in var.zones : "${var.region}${letter}" => number }
}

resource "aws_vpc" "this" {
  cidr_block           = "10.20.0.0/16"
  enable_dns_hostnames = true
  tags                 = { Name = var.name }
}

resource "aws_internet_gateway" "this" {
  vpc_id = aws_vpc.this.id
  tags   = { Name = var.name }
}

resource "aws_subnet" "public" {
  for_each          = local.zones
  vpc_id            = aws_vpc.this.id
  availability_zone = each.key
  cidr_block        = cidrsubnet(aws_vpc.this.cidr_block, 8, each.value)
  tags              = { Name = "${var.name}-public-${each.key}" }
}

resource "aws_subnet" "private" {
  for_each          = local.zones
  vpc_id            = aws_vpc.this.id
  availability_zone = each.key
  cidr_block        = cidrsubnet(aws_vpc.this.cidr_block, 8, 100 + each.value)
  tags              = { Name = "${var.name}-private-${each.key}" }
}

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.this.id
  route {
    cidr_block = "0.0.0.0/0"
    gateway_id = aws_internet_gateway.this.id
  }
  tags = { Name = "${var.name}-public" }
}

resource "aws_route_table_association" "public" {
  for_each       = aws_subnet.public
  subnet_id      = each.value.id
  route_table_id = aws_route_table.public.id
}

# Media reach the tasks inside Amazon's network.
resource "aws_vpc_endpoint" "s3" {
  vpc_id          = aws_vpc.this.id
  service_name    = "com.amazonaws.${var.region}.s3"
  route_table_ids = [aws_route_table.public.id]
  tags            = { Name = "${var.name}-s3" }
}

resource "aws_security_group" "balancer" {
  name        = "${var.name}-balancer"
  description = "Browsers reach the load balancer"
  vpc_id      = aws_vpc.this.id
}

resource "aws_vpc_security_group_ingress_rule" "balancer" {
  for_each          = toset(["80", "443"])
  security_group_id = aws_security_group.balancer.id
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = each.value
  to_port           = each.value
}

resource "aws_vpc_security_group_egress_rule" "balancer" {
  security_group_id            = aws_security_group.balancer.id
  referenced_security_group_id = aws_security_group.tasks["web"].id
  ip_protocol                  = "tcp"
  from_port                    = local.nginx_port
  to_port                      = local.nginx_port
}

resource "aws_security_group" "tasks" {
  for_each    = local.services
  name        = "${var.name}-${each.key}"
  description = "Tasks of ${each.key}"
  vpc_id      = aws_vpc.this.id
}

resource "aws_vpc_security_group_ingress_rule" "web" {
  security_group_id            = aws_security_group.tasks["web"].id
  referenced_security_group_id = aws_security_group.balancer.id
  ip_protocol                  = "tcp"
  from_port                    = local.nginx_port
  to_port                      = local.nginx_port
}

# Platforms, sites of downloads and the clock are anywhere.
resource "aws_vpc_security_group_egress_rule" "tasks" {
  for_each          = aws_security_group.tasks
  security_group_id = each.value.id
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "-1"
}

resource "aws_security_group" "stores" {
  for_each    = toset(var.broker == "valkey" ? ["database", "valkey"] : ["database"])
  name        = "${var.name}-${each.key}"
  description = "Tasks reach ${each.key}"
  vpc_id      = aws_vpc.this.id
}

resource "aws_vpc_security_group_ingress_rule" "stores" {
  for_each = {
    for pair in setproduct(keys(aws_security_group.stores), keys(local.services)) :
    "${pair[0]}-from-${pair[1]}" => { store = pair[0], service = pair[1], port = pair[0] == "database" ? 5432 : 6379 }
  }
  security_group_id            = aws_security_group.stores[each.value.store].id
  referenced_security_group_id = aws_security_group.tasks[each.value.service].id
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
}
