# Three services of one image: pages, jobs and playout, each replaced by itself.

locals {
  nginx_port = 8080

  # What all parts are told. Names are those of deploy/settings.md.
  environment = merge({
    ALLOWED_HOSTS         = var.host
    BEHIND_TLS            = "true"
    CSRF_TRUSTED_ORIGINS  = "https://${var.host}"
    STORAGE_PROVIDER      = "aws"
    STORAGE_BUCKET        = aws_s3_bucket.media.id
    STORAGE_REGION        = var.region
    STORAGE_ACCESS_KEY_ID = aws_iam_access_key.storage.id
    Q_BROKER_URL = (
      var.broker == "sqs" ? "sqs://${var.region}"
      : "rediss://${one(aws_elasticache_replication_group.this[*].primary_endpoint_address)}:6379/0"
    )
  }, var.settings)
  secrets = ["DATABASE_URL", "FIELD_KEYS", "SECRET_KEY", "STORAGE_SECRET_ACCESS_KEY"]

  services = {
    web = {
      image   = var.image
      count   = var.web_count
      command = ["python3", "-m", "gunicorn", "--config", "python:streamsite.web", "--bind", "unix:/run/web/web.sock", "--bind", "127.0.0.1:8000"]
      healthy = ["web"]
    }
    background = {
      image   = var.image
      count   = 1
      command = ["python3", "manage.py", "run_cluster", "background"]
      healthy = ["jobs", "downloads"]
    }
    playout = {
      image   = var.playout_image
      count   = var.playout_count
      command = ["python3", "manage.py", "serve", "--only", "playout"]
      healthy = ["playout"]
    }
  }

  # The part itself, as it stands in each task.
  containers = {
    for name, service in local.services : name => {
      name      = name
      image     = service.image
      command   = service.command
      essential = true
      # Seconds; Fargate allows no more. Playout ends its sessions properly, a job puts down its work.
      stopTimeout = 120
      user        = "10001:10001"
      environment = [for key in sort(keys(local.environment)) : { name = key, value = local.environment[key] }]
      secrets = [
        for key in local.secrets : { name = key, valueFrom = "${aws_secretsmanager_secret.this.arn}:${key}::" }
      ]
      healthCheck = {
        command     = concat(["CMD", "python3", "deploy/container/healthy.py"], service.healthy)
        interval    = 30
        timeout     = 20
        startPeriod = 90
        retries     = 3
      }
      linuxParameters  = { capabilities = { drop = ["ALL"] } }
      logConfiguration = local.logs[name]
      mountPoints      = []
      dependsOn        = []
    }
  }
  logs = {
    for name in keys(local.services) : name => {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.services[name].name
        awslogs-region        = var.region
        awslogs-stream-prefix = name
      }
    }
  }

  # nginx tells the pages who asks: over TCP they believe no such header.
  socket = { sourceVolume = "socket", containerPath = "/run/web", readOnly = false }
  web = [
    merge(local.containers.web, {
      mountPoints = [local.socket]
      dependsOn   = [{ containerName = "set-up", condition = "SUCCESS" }, { containerName = "socket", condition = "SUCCESS" }]
    }),
    # Before each new version of the pages: migrations, and the account at the first.
    merge(local.containers.web, {
      name        = "set-up"
      command     = ["python3", "manage.py", "set_up"]
      essential   = false
      healthCheck = null
      secrets = concat(local.containers.web.secrets, [
        { name = "ADMIN_PASSWORD", valueFrom = "${aws_secretsmanager_secret.this.arn}:ADMIN_PASSWORD::" },
      ])
    }),
    # The folder of the socket belongs to root until the pages' user gets it.
    {
      name             = "socket"
      image            = var.nginx_image
      command          = ["chown", "10001:10001", "/run/web"]
      essential        = false
      logConfiguration = local.logs["web"]
      mountPoints      = [local.socket]
    },
    {
      name             = "nginx"
      image            = var.nginx_image
      command          = ["sh", "-c", "printf '%s' \"$CONFIGURATION\" >/etc/nginx/nginx.conf && exec nginx -g 'daemon off;'"]
      essential        = true
      environment      = [{ name = "CONFIGURATION", value = local.nginx }]
      portMappings     = [{ containerPort = local.nginx_port, protocol = "tcp" }]
      dependsOn        = [{ containerName = "web", condition = "HEALTHY" }]
      logConfiguration = local.logs["web"]
      mountPoints      = [local.socket]
    },
  ]
  nginx = templatefile("${path.module}/nginx.conf.tftpl", {
    port = local.nginx_port, network = aws_vpc.this.cidr_block
  })
}

resource "aws_ecs_cluster" "this" {
  name = var.name
  setting {
    name  = "containerInsights"
    value = "enabled"
  }
  # It would be made by itself, and kept for ever.
  depends_on = [aws_cloudwatch_log_group.insights]
}

resource "aws_ecs_task_definition" "this" {
  for_each                 = local.services
  family                   = "${var.name}-${each.key}"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.sizes[each.key].cpu
  memory                   = var.sizes[each.key].memory
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.services[each.key].arn
  container_definitions    = each.key == "web" ? jsonencode(local.web) : jsonencode([local.containers[each.key]])
  ephemeral_storage {
    size_in_gib = var.sizes[each.key].disk
  }
  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.architecture
  }
  dynamic "volume" {
    for_each = each.key == "web" ? ["socket"] : []
    content {
      name = volume.value
    }
  }
}

resource "aws_ecs_service" "this" {
  for_each               = local.services
  name                   = each.key
  cluster                = aws_ecs_cluster.this.id
  task_definition        = aws_ecs_task_definition.this[each.key].arn
  desired_count          = each.value.count
  launch_type            = "FARGATE"
  enable_execute_command = true
  # A new task stands beside the old one before that is stopped. A channel goes to the new node when the lease
  # of the old one has run out, after 15 s.
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  # It would end tasks to move them to another zone.
  availability_zone_rebalancing     = "DISABLED"
  health_check_grace_period_seconds = each.key == "web" ? 180 : null
  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }
  network_configuration {
    subnets          = [for subnet in aws_subnet.public : subnet.id]
    security_groups  = [aws_security_group.tasks[each.key].id]
    assign_public_ip = true
  }
  dynamic "load_balancer" {
    for_each = each.key == "web" ? [aws_lb_target_group.web] : []
    content {
      target_group_arn = load_balancer.value.arn
      container_name   = "nginx"
      container_port   = local.nginx_port
    }
  }
  depends_on = [aws_lb_listener.https, aws_secretsmanager_secret_version.this, aws_iam_role_policy.execution]
}
