locals {
  log_days = 30
  alarms = {
    playout-is-down = {
      text       = "A task of playout is missing: its channels are off the air"
      namespace  = "ECS/ContainerInsights", metric = "RunningTaskCount"
      dimensions = { ClusterName = aws_ecs_cluster.this.name, ServiceName = "playout" }
      statistic  = "Minimum", compare = "LessThanThreshold", bound = var.playout_count, minutes = 2, missing = "breaching"
    }
    pages-are-down = {
      text       = "No page is served"
      namespace  = "AWS/ApplicationELB", metric = "HealthyHostCount"
      dimensions = { LoadBalancer = aws_lb.this.arn_suffix, TargetGroup = aws_lb_target_group.web.arn_suffix }
      statistic  = "Minimum", compare = "LessThanThreshold", bound = 1, minutes = 3, missing = "breaching"
    }
    playout-is-slow = {
      text       = "Playout uses nearly all of its processor: pictures will stall"
      namespace  = "AWS/ECS", metric = "CPUUtilization"
      dimensions = { ClusterName = aws_ecs_cluster.this.name, ServiceName = "playout" }
      statistic  = "Average", compare = "GreaterThanThreshold", bound = 85, minutes = 5, missing = "missing"
    }
    playout-memory = {
      text       = "Playout uses nearly all of its memory"
      namespace  = "AWS/ECS", metric = "MemoryUtilization"
      dimensions = { ClusterName = aws_ecs_cluster.this.name, ServiceName = "playout" }
      statistic  = "Maximum", compare = "GreaterThanThreshold", bound = 90, minutes = 5, missing = "missing"
    }
    database-is-full = {
      text       = "The database has less than 2 GB of disk left"
      namespace  = "AWS/RDS", metric = "FreeStorageSpace"
      dimensions = { DBInstanceIdentifier = aws_db_instance.this.identifier }
      statistic  = "Minimum", compare = "LessThanThreshold", bound = 2000000000, minutes = 15, missing = "missing"
    }
    database-is-slow = {
      text       = "The database uses nearly all of its processor"
      namespace  = "AWS/RDS", metric = "CPUUtilization"
      dimensions = { DBInstanceIdentifier = aws_db_instance.this.identifier }
      statistic  = "Average", compare = "GreaterThanThreshold", bound = 90, minutes = 15, missing = "missing"
    }
  }
  queue_alarms = {
    for name, queue in aws_sqs_queue.this : "queue-waits-${name}" => {
      text       = "Jobs wait in the queue ${name}: does the service background run?"
      namespace  = "AWS/SQS", metric = "ApproximateAgeOfOldestMessage"
      dimensions = { QueueName = queue.name }
      statistic  = "Maximum", compare = "GreaterThanThreshold", bound = 3600, minutes = 15, missing = "missing"
    }
  }
}

resource "aws_cloudwatch_log_group" "services" {
  for_each          = local.services
  name              = "/${var.name}/${each.key}"
  retention_in_days = local.log_days
}

# RDS would make it itself, and keep it for ever.
resource "aws_cloudwatch_log_group" "database" {
  name              = "/aws/rds/instance/${var.name}/postgresql"
  retention_in_days = local.log_days
}

resource "aws_cloudwatch_log_group" "insights" {
  name              = "/aws/ecs/containerinsights/${var.name}/performance"
  retention_in_days = local.log_days
}

resource "aws_sns_topic" "alarms" {
  count = var.alarm_email == null ? 0 : 1
  name  = "${var.name}-alarms"
}

resource "aws_sns_topic_subscription" "alarms" {
  count     = var.alarm_email == null ? 0 : 1
  topic_arn = aws_sns_topic.alarms[0].arn
  protocol  = "email"
  endpoint  = var.alarm_email
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each            = merge(local.alarms, local.queue_alarms)
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.text
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  comparison_operator = each.value.compare
  threshold           = each.value.bound
  period              = 60
  evaluation_periods  = each.value.minutes
  treat_missing_data  = each.value.missing
  alarm_actions       = aws_sns_topic.alarms[*].arn
  ok_actions          = aws_sns_topic.alarms[*].arn
}
