output "load_balancer" {
  description = "Point the name of the site here (CNAME, or an alias record)."
  value       = aws_lb.this.dns_name
}

output "bucket" {
  description = "The library's bucket."
  value       = aws_s3_bucket.media.id
}

output "secret" {
  description = "The secret with the keys, and with the first password of the account operator."
  value       = aws_secretsmanager_secret.this.name
}

output "cluster" {
  description = "The ECS cluster, for aws ecs execute-command."
  value       = aws_ecs_cluster.this.name
}

output "cloudfront" {
  description = "CloudFront's name, where a public key was given."
  value       = one(aws_cloudfront_distribution.media[*].domain_name)
}
