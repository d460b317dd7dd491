# The whole Postagram stack as somebody else's tool describes it: `.ci/terraform` applies it to a local AWS, plans again
# without a difference, and destroys it.

terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}

variable "endpoint" { type = string }

# The zip of the labeler's program.
variable "labeler" { type = string }

provider "aws" {
  region            = "us-east-1"
  access_key        = "LOCALACCESSKEY000000"
  secret_key        = "local"
  s3_use_path_style = true

  endpoints {
    autoscaling = var.endpoint
    dynamodb    = var.endpoint
    ec2         = var.endpoint
    elbv2       = var.endpoint
    iam         = var.endpoint
    lambda      = var.endpoint
    logs        = var.endpoint
    s3          = var.endpoint
    sts         = var.endpoint
  }

  default_tags {
    tags = { "deployer:stack" = "postagram", author = "Zoé" }
  }
}

data "aws_caller_identity" "current" {}

data "aws_vpc" "default" {
  default = true
}

data "aws_subnets" "default" {
  filter {
    name   = "vpc-id"
    values = [data.aws_vpc.default.id]
  }
}

data "aws_ami" "linux" {
  most_recent = true
  owners      = ["amazon"]
  filter {
    name   = "name"
    values = ["al2023-ami-2023*x86_64"]
  }
}

# Buckets

resource "aws_s3_bucket" "images" {
  bucket        = "postagram-images-${data.aws_caller_identity.current.account_id}-us-east-1"
  force_destroy = true
}

resource "aws_s3_bucket_public_access_block" "images" {
  bucket                  = aws_s3_bucket.images.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "images" {
  bucket = aws_s3_bucket.images.id
  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_cors_configuration" "images" {
  bucket = aws_s3_bucket.images.id
  cors_rule {
    allowed_origins = ["*"]
    allowed_methods = ["GET", "HEAD", "PUT"]
    allowed_headers = ["content-type"]
    expose_headers  = ["ETag"]
  }
}

resource "aws_s3_bucket" "artifacts" {
  bucket        = "postagram-artifacts-${data.aws_caller_identity.current.account_id}-us-east-1"
  force_destroy = true
}

resource "aws_s3_bucket_ownership_controls" "artifacts" {
  bucket = aws_s3_bucket.artifacts.id
  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_versioning" "artifacts" {
  bucket = aws_s3_bucket.artifacts.id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "artifacts" {
  bucket = aws_s3_bucket.artifacts.id
  rule {
    id     = "old"
    status = "Enabled"
    filter {}
    noncurrent_version_expiration {
      noncurrent_days = 30
    }
  }
}

resource "aws_s3_bucket_policy" "artifacts" {
  bucket = aws_s3_bucket.artifacts.id
  policy = data.aws_iam_policy_document.encrypted.json
}

data "aws_iam_policy_document" "encrypted" {
  statement {
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.artifacts.arn, "${aws_s3_bucket.artifacts.arn}/*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_object" "service" {
  bucket  = aws_s3_bucket.artifacts.id
  key     = "services/web é"
  content = "#!/bin/sh"
}

# The table

resource "aws_dynamodb_table" "posts" {
  name                        = "postagram-posts"
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "user"
  range_key                   = "id"
  deletion_protection_enabled = false

  attribute {
    name = "user"
    type = "S"
  }
  attribute {
    name = "id"
    type = "S"
  }
  point_in_time_recovery {
    enabled = true
  }
}

# Roles

data "aws_iam_policy_document" "assumed" {
  for_each = toset(["lambda", "ec2"])
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["${each.key}.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "uses" {
  statement {
    actions   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
    resources = ["${aws_s3_bucket.images.arn}/*"]
  }
  statement {
    actions   = ["dynamodb:PutItem", "dynamodb:GetItem", "dynamodb:Query", "dynamodb:UpdateItem"]
    resources = [aws_dynamodb_table.posts.arn]
  }
}

resource "aws_iam_role" "labeler" {
  name               = "postagram-labeler-us-east-1"
  path               = "/deployer/"
  assume_role_policy = data.aws_iam_policy_document.assumed["lambda"].json
}

resource "aws_iam_role_policy" "labeler" {
  name   = "uses"
  role   = aws_iam_role.labeler.id
  policy = data.aws_iam_policy_document.uses.json
}

resource "aws_iam_policy" "logs" {
  name   = "postagram-logs"
  policy = data.aws_iam_policy_document.logs.json
}

data "aws_iam_policy_document" "logs" {
  statement {
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.labeler.arn}:*"]
  }
}

resource "aws_iam_role_policy_attachment" "labeler" {
  role       = aws_iam_role.labeler.name
  policy_arn = aws_iam_policy.logs.arn
}

resource "aws_iam_role" "web" {
  name               = "postagram-web-us-east-1"
  path               = "/deployer/"
  assume_role_policy = data.aws_iam_policy_document.assumed["ec2"].json
}

resource "aws_iam_role_policy" "web" {
  name   = "uses"
  role   = aws_iam_role.web.id
  policy = data.aws_iam_policy_document.uses.json
}

resource "aws_iam_instance_profile" "web" {
  name = "postagram-web-us-east-1"
  role = aws_iam_role.web.name
}

# The function

resource "aws_cloudwatch_log_group" "labeler" {
  name              = "/aws/lambda/postagram-labeler"
  retention_in_days = 14
}

resource "aws_lambda_function" "labeler" {
  function_name    = "postagram-labeler"
  filename         = var.labeler
  source_code_hash = filebase64sha256(var.labeler)
  runtime          = "provided.al2023"
  handler          = "bootstrap"
  architectures    = ["x86_64"]
  memory_size      = 256
  timeout          = 30
  role             = aws_iam_role.labeler.arn

  environment {
    variables = { BUCKET = aws_s3_bucket.images.id, DYNAMO_TABLE = aws_dynamodb_table.posts.name }
  }
  logging_config {
    log_format = "Text"
    log_group  = aws_cloudwatch_log_group.labeler.name
  }
  depends_on = [aws_iam_role_policy.labeler]
}

resource "aws_lambda_function_event_invoke_config" "labeler" {
  function_name                = aws_lambda_function.labeler.function_name
  maximum_retry_attempts       = 2
  maximum_event_age_in_seconds = 3600
}

resource "aws_lambda_permission" "images" {
  statement_id   = "images"
  action         = "lambda:InvokeFunction"
  function_name  = aws_lambda_function.labeler.function_name
  principal      = "s3.amazonaws.com"
  source_arn     = aws_s3_bucket.images.arn
  source_account = data.aws_caller_identity.current.account_id
}

resource "aws_s3_bucket_notification" "images" {
  bucket = aws_s3_bucket.images.id
  lambda_function {
    id                  = "images"
    lambda_function_arn = aws_lambda_function.labeler.arn
    events              = ["s3:ObjectCreated:*"]
    filter_suffix       = ".jpg"
  }
  depends_on = [aws_lambda_permission.images]
}

# The service

resource "aws_security_group" "balancer" {
  name        = "postagram-balancer"
  description = "the load balancer"
  vpc_id      = data.aws_vpc.default.id
}

resource "aws_vpc_security_group_ingress_rule" "balancer" {
  security_group_id = aws_security_group.balancer.id
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 80
  to_port           = 80
}

resource "aws_vpc_security_group_egress_rule" "balancer" {
  security_group_id = aws_security_group.balancer.id
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "-1"
}

resource "aws_security_group" "web" {
  name        = "postagram-web"
  description = "the instances"
  vpc_id      = data.aws_vpc.default.id

  ingress {
    description     = "from the load balancer"
    protocol        = "tcp"
    from_port       = 8080
    to_port         = 8080
    security_groups = [aws_security_group.balancer.id]
  }
  egress {
    protocol    = "-1"
    from_port   = 0
    to_port     = 0
    cidr_blocks = ["0.0.0.0/0"]
  }
}

resource "aws_launch_template" "web" {
  name                   = "postagram-web"
  image_id               = data.aws_ami.linux.id
  instance_type          = "t3.micro"
  update_default_version = true
  vpc_security_group_ids = [aws_security_group.web.id]
  user_data = base64encode(<<-END
    #cloud-config
    write_files:
    - path: /opt/web/service
      permissions: '0755'
      content: |
        #!/usr/bin/env python3
        import http.server, os
        address = (os.environ.get("HOST", ""), int(os.environ["PORT"]))
        http.server.HTTPServer(address, http.server.SimpleHTTPRequestHandler).serve_forever()
    - path: /etc/systemd/system/web.service
      content: |
        [Service]
        Environment=PORT=8080
        ExecStart=/opt/web/service
    runcmd:
    - [systemctl, daemon-reload]
    - [systemctl, enable, --now, web.service]
  END
  )
  iam_instance_profile {
    name = aws_iam_instance_profile.web.name
  }
  metadata_options {
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }
  block_device_mappings {
    device_name = "/dev/xvda"
    ebs {
      volume_size = 8
      volume_type = "gp3"
    }
  }
  tag_specifications {
    resource_type = "instance"
    tags          = { Name = "postagram-web" }
  }
  tag_specifications {
    resource_type = "volume"
    tags          = { Name = "postagram-web" }
  }
}

resource "aws_lb_target_group" "web" {
  name                 = "postagram-web"
  port                 = 8080
  protocol             = "HTTP"
  vpc_id               = data.aws_vpc.default.id
  deregistration_delay = 10
  health_check {
    path                = "/"
    interval            = 5
    timeout             = 2
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }
}

resource "aws_lb" "web" {
  name               = "postagram-web"
  load_balancer_type = "application"
  security_groups    = [aws_security_group.balancer.id]
  subnets            = slice(sort(data.aws_subnets.default.ids), 0, 2)
  idle_timeout       = 30
}

resource "aws_lb_listener" "web" {
  load_balancer_arn = aws_lb.web.arn
  port              = 80
  protocol          = "HTTP"
  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.web.arn
  }
}

resource "aws_autoscaling_group" "web" {
  name                      = "postagram-web"
  min_size                  = 1
  max_size                  = 4
  health_check_type         = "ELB"
  health_check_grace_period = 60
  vpc_zone_identifier       = aws_lb.web.subnets
  target_group_arns         = [aws_lb_target_group.web.arn]
  wait_for_elb_capacity     = 1

  launch_template {
    id      = aws_launch_template.web.id
    version = aws_launch_template.web.latest_version
  }
  instance_refresh {
    strategy = "Rolling"
    preferences {
      min_healthy_percentage = 50
    }
  }
  tag {
    key                 = "Name"
    value               = "postagram-web"
    propagate_at_launch = true
  }
  depends_on = [aws_lb_listener.web]
}

resource "aws_autoscaling_policy" "web" {
  name                   = "cpu"
  autoscaling_group_name = aws_autoscaling_group.web.name
  policy_type            = "TargetTrackingScaling"
  target_tracking_configuration {
    predefined_metric_specification {
      predefined_metric_type = "ASGAverageCPUUtilization"
    }
    target_value = 60
  }
}

output "url" {
  value = "http://${aws_lb.web.dns_name}/"
}
