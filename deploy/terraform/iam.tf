# Least privilege: each statement holds the calls that the program makes, and the things it makes them on.

data "aws_iam_policy_document" "tasks" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }
  }
}

# ---- ECS itself: starts tasks, writes their logs, hands them their secrets ----

resource "aws_iam_role" "execution" {
  name               = "${var.name}-execution"
  assume_role_policy = data.aws_iam_policy_document.tasks.json
}

data "aws_iam_policy_document" "execution" {
  statement {
    sid       = "Secrets"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [aws_secretsmanager_secret.this.arn]
  }
  statement {
    sid       = "Logs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = [for group in aws_cloudwatch_log_group.services : "${group.arn}:*"]
  }
  # An image in ECR. Its token is for the whole registry.
  statement {
    sid       = "ImageToken"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }
  statement {
    sid       = "Image"
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = ["arn:aws:ecr:${var.region}:*:repository/*"]
  }
}

resource "aws_iam_role_policy" "execution" {
  name   = "execution"
  role   = aws_iam_role.execution.id
  policy = data.aws_iam_policy_document.execution.json
}

# ---- the program: all parts put work into the queues, `background` alone takes it out ----

resource "aws_iam_role" "services" {
  for_each           = local.services
  name               = "${var.name}-${each.key}"
  assume_role_policy = data.aws_iam_policy_document.tasks.json
}

data "aws_iam_policy_document" "services" {
  for_each = local.services
  dynamic "statement" {
    for_each = var.broker == "sqs" ? ["sqs"] : []
    content {
      sid = "Queues"
      actions = concat(
        ["sqs:GetQueueUrl", "sqs:SendMessage"],
        each.key == "background" ? ["sqs:DeleteMessage", "sqs:ReceiveMessage"] : [],
      )
      resources = [for queue in aws_sqs_queue.this : queue.arn]
    }
  }
  # `aws ecs execute-command`, for `manage.py doctor` and the like.
  statement {
    sid = "Terminal"
    actions = [
      "ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel",
      "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel",
    ]
    resources = ["*"]
  }
}

resource "aws_iam_role_policy" "services" {
  for_each = local.services
  name     = "service"
  role     = aws_iam_role.services[each.key].id
  policy   = data.aws_iam_policy_document.services[each.key].json
}

# ---- the bucket: a user, for addresses signed with a role's credentials end with these, within hours,
# and FFmpeg reads from one for as long as a film lasts ----

resource "aws_iam_user" "storage" {
  name = "${var.name}-storage"
}

resource "aws_iam_access_key" "storage" {
  user = aws_iam_user.storage.name
}

data "aws_iam_policy_document" "storage" {
  statement {
    sid       = "List"
    actions   = ["s3:ListBucket", "s3:ListBucketMultipartUploads"]
    resources = [aws_s3_bucket.media.arn]
  }
  statement {
    sid = "Files"
    actions = [
      "s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:ListMultipartUploadParts",
      "s3:PutObject",
    ]
    resources = ["${aws_s3_bucket.media.arn}/*"]
  }
}

resource "aws_iam_user_policy" "storage" {
  name   = "bucket"
  user   = aws_iam_user.storage.name
  policy = data.aws_iam_policy_document.storage.json
}
