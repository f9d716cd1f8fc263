variable "name" {
  description = "Prefix of all names, also of the bucket's."
  type        = string
  default     = "streamsite"
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,20}$", var.name))
    error_message = "name must be 2 to 21 lower-case letters, digits and hyphens, with a letter first."
  }
}

variable "region" {
  description = "The provider's region, such as eu-central-1."
  type        = string
}

variable "zones" {
  description = "Letters of two or more availability zones of the region."
  type        = list(string)
  default     = ["a", "b"]
  validation {
    condition     = length(var.zones) >= 2
    error_message = "The load balancer and the database need two zones or more."
  }
}

variable "host" {
  description = "The name by which browsers reach the site: tv.example.org. It must point to the output load_balancer."
  type        = string
}

variable "certificate_arn" {
  description = "The ARN of an ACM certificate for host, in this region."
  type        = string
}

variable "image" {
  description = "The image of pages and jobs, with a tag of its own: REGISTRY/streamsite:v1.2.0."
  type        = string
}

variable "playout_image" {
  description = "The image of playout. Raise it by itself: a change takes the channels off the air for some 20 seconds."
  type        = string
}

variable "nginx_image" {
  description = "The image of the nginx before the pages."
  type        = string
  default     = "public.ecr.aws/docker/library/nginx:1.28"
}

variable "architecture" {
  description = "X86_64 or ARM64: what the images are built for."
  type        = string
  default     = "X86_64"
  validation {
    condition     = contains(["X86_64", "ARM64"], var.architecture)
    error_message = "architecture must be X86_64 or ARM64."
  }
}

variable "field_keys" {
  description = "FIELD_KEYS: encrypts stream keys in the database. Keep a copy away from AWS."
  type        = string
  sensitive   = true
  ephemeral   = true
  validation {
    condition     = alltrue([for key in split(",", var.field_keys) : can(regex("^[A-Za-z0-9_-]{43}=$", key))])
    error_message = "field_keys must be Fernet keys with commas between: 32 bytes in base64 each."
  }
}

variable "secrets_version" {
  description = "Raise it by one to write the secrets anew: another field_keys, another password of the database."
  type        = number
  default     = 1
}

variable "settings" {
  description = "More settings without secrets, by the names of deploy/settings.md."
  type        = map(string)
  default     = {}
}

variable "broker" {
  description = "The queue: sqs, or valkey (ElastiCache, which is made for it alone)."
  type        = string
  default     = "sqs"
  validation {
    condition     = contains(["sqs", "valkey"], var.broker)
    error_message = "broker must be sqs or valkey."
  }
}

variable "web_count" {
  description = "Tasks that serve pages."
  type        = number
  default     = 1
}

variable "playout_count" {
  description = "Tasks that play channels: each is a node, and channels are shared out among them."
  type        = number
  default     = 1
}

variable "sizes" {
  description = "CPU units (1024 are one core) and MiB of memory of each kind of task, and GiB of its disk."
  type        = map(object({ cpu = number, memory = number, disk = number }))
  default = {
    web        = { cpu = 512, memory = 1024, disk = 21 }
    background = { cpu = 2048, memory = 4096, disk = 100 }
    playout    = { cpu = 1024, memory = 2048, disk = 40 }
  }
}

variable "database_class" {
  description = "The instance class of the database."
  type        = string
  default     = "db.t4g.micro"
}

variable "database_multi_az" {
  description = "Whether the database has a standby in another zone."
  type        = bool
  default     = false
}

variable "cache_class" {
  description = "The node type of ElastiCache, where broker is valkey."
  type        = string
  default     = "cache.t4g.micro"
}

variable "cloudfront_public_key" {
  description = "A public key (PEM). With it CloudFront serves files of the bucket to holders of addresses signed with the private key."
  type        = string
  default     = null
}

variable "alarm_email" {
  description = "Who is told of alarms; each address must confirm once. Null: alarms are shown in CloudWatch alone."
  type        = string
  default     = null
}
