# The database and the queue.

resource "aws_db_subnet_group" "this" {
  name       = var.name
  subnet_ids = [for subnet in aws_subnet.private : subnet.id]
}

resource "aws_db_instance" "this" {
  identifier                      = var.name
  engine                          = "postgres"
  engine_version                  = "17"
  instance_class                  = var.database_class
  multi_az                        = var.database_multi_az
  db_name                         = "streamsite"
  username                        = "streamsite"
  password_wo                     = ephemeral.aws_secretsmanager_random_password.database.random_password
  password_wo_version             = var.secrets_version
  allocated_storage               = 20
  max_allocated_storage           = 200
  storage_type                    = "gp3"
  storage_encrypted               = true
  db_subnet_group_name            = aws_db_subnet_group.this.name
  vpc_security_group_ids          = [aws_security_group.stores["database"].id]
  backup_retention_period         = 7
  copy_tags_to_snapshot           = true
  deletion_protection             = true
  final_snapshot_identifier       = "${var.name}-last"
  enabled_cloudwatch_logs_exports = ["postgresql"]
  depends_on                      = [aws_cloudwatch_log_group.database]
}

# The names of the queues are those of CLUSTERS in streamsite/settings.py. SQS hides a message for 12 hours
# at most; rows hold the work, so a lost message costs a minute.
resource "aws_sqs_queue" "this" {
  for_each                = var.broker == "sqs" ? toset(["streamsite", "downloads"]) : []
  name                    = each.key
  sqs_managed_sse_enabled = true
}

resource "aws_elasticache_subnet_group" "this" {
  count      = var.broker == "valkey" ? 1 : 0
  name       = var.name
  subnet_ids = [for subnet in aws_subnet.private : subnet.id]
}

# Only the tasks' security groups reach it.
resource "aws_elasticache_replication_group" "this" {
  count                      = var.broker == "valkey" ? 1 : 0
  replication_group_id       = var.name
  description                = "The queue of ${var.name}"
  engine                     = "valkey"
  engine_version             = "8.0"
  node_type                  = var.cache_class
  num_cache_clusters         = 1
  subnet_group_name          = aws_elasticache_subnet_group.this[0].name
  security_group_ids         = [aws_security_group.stores["valkey"].id]
  at_rest_encryption_enabled = true
  transit_encryption_enabled = true
}
