# One secret holds all. Its values are ephemeral: they are in no state and in no plan.

ephemeral "aws_secretsmanager_random_password" "database" {
  password_length     = 40
  exclude_punctuation = true
}

ephemeral "aws_secretsmanager_random_password" "django" {
  password_length     = 64
  exclude_punctuation = true
}

ephemeral "aws_secretsmanager_random_password" "operator" {
  password_length     = 16
  exclude_punctuation = true
}

resource "aws_secretsmanager_secret" "this" {
  name_prefix = "${var.name}-"
  description = "Keys of ${var.name}. Keep a copy of FIELD_KEYS away from AWS."
}

resource "aws_secretsmanager_secret_version" "this" {
  secret_id                = aws_secretsmanager_secret.this.id
  secret_string_wo_version = var.secrets_version
  secret_string_wo = jsonencode({
    ADMIN_PASSWORD = ephemeral.aws_secretsmanager_random_password.operator.random_password
    DATABASE_URL = format("postgres://%s:%s@%s/%s?sslmode=require",
      aws_db_instance.this.username,
      ephemeral.aws_secretsmanager_random_password.database.random_password,
      aws_db_instance.this.endpoint,
    aws_db_instance.this.db_name)
    FIELD_KEYS                = var.field_keys
    SECRET_KEY                = ephemeral.aws_secretsmanager_random_password.django.random_password
    STORAGE_SECRET_ACCESS_KEY = aws_iam_access_key.storage.secret
  })
}
