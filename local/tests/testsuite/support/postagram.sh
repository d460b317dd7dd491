#!/usr/bin/env bash
# Creates, reads back, uses and deletes the whole Postagram stack with the AWS CLI on the AWS at the given endpoint.
set -euo pipefail

aws=$1
dir=$3
export AWS_ENDPOINT_URL=$2 AWS_ACCESS_KEY_ID=LOCALACCESSKEY000000 AWS_SECRET_ACCESS_KEY=local
export AWS_DEFAULT_REGION=us-east-1 AWS_DEFAULT_OUTPUT=text AWS_PAGER='' AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null
aws() { command "$aws" "$@"; }

# is WHAT WANTED COMMAND...: fails unless the command prints exactly WANTED.
is() {
  local what=$1 wanted=$2 found
  shift 2
  found=$("$@")
  if [ "$found" != "$wanted" ]; then
    echo "$what is '$found' instead of '$wanted'" >&2
    exit 1
  fi
}

# until_is WHAT WANTED COMMAND...: repeats the command until it prints WANTED.
until_is() {
  local what=$1 wanted=$2 found=''
  shift 2
  for _ in $(seq 60); do
    found=$("$@" 2>/dev/null || true)
    [ "$found" = "$wanted" ] && return
  done
  echo "$what is still '$found' and never becomes '$wanted'" >&2
  exit 1
}

# refused CODE COMMAND...
refused() {
  local code=$1 said
  shift
  if said=$("$@" 2>&1); then
    echo "$* was not refused with $code" >&2
    exit 1
  fi
  case $said in
    *"($code)"*) ;;
    *) echo "$* was refused with $said instead of $code" >&2 && exit 1 ;;
  esac
}

trust() {
  printf '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"%s.amazonaws.com"},"Action":"sts:AssumeRole"}]}' "$1"
}
anything='{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'

account=$(aws sts get-caller-identity --query Account)
images=postagram-images-$account-us-east-1
table=postagram-posts

# A bucket
aws s3 mb "s3://$images" >/dev/null
aws s3api put-bucket-tagging --bucket "$images" --tagging 'TagSet=[{Key=author,Value=Zoé}]'
is 'the tag' Zoé aws s3api get-bucket-tagging --bucket "$images" --query 'TagSet[0].Value'
aws s3api put-bucket-cors --bucket "$images" --cors-configuration '{"CORSRules":[{"AllowedMethods":["PUT"],"AllowedOrigins":["*"]}]}'
is 'the method' PUT aws s3api get-bucket-cors --bucket "$images" --query 'CORSRules[0].AllowedMethods[0]'
is 'the block' True aws s3api get-public-access-block --bucket "$images" --query PublicAccessBlockConfiguration.BlockPublicAcls
echo picture >"$dir/é 1.jpg"
aws s3 cp --only-show-errors "$dir/é 1.jpg" "s3://$images/ada/é 1.jpg"
is 'the object' picture aws s3 cp --only-show-errors "s3://$images/ada/é 1.jpg" -

# A table
aws dynamodb create-table --table-name $table --billing-mode PAY_PER_REQUEST --tags Key=author,Value=Zoé \
  --key-schema AttributeName=user,KeyType=HASH AttributeName=id,KeyType=RANGE \
  --attribute-definitions AttributeName=user,AttributeType=S AttributeName=id,AttributeType=S >/dev/null
until_is 'the table' ACTIVE aws dynamodb describe-table --table-name $table --query Table.TableStatus
until_is 'recovery' ENABLED aws dynamodb update-continuous-backups --table-name $table \
  --point-in-time-recovery-specification PointInTimeRecoveryEnabled=true \
  --query ContinuousBackupsDescription.PointInTimeRecoveryDescription.PointInTimeRecoveryStatus
aws dynamodb put-item --table-name $table --item '{"user":{"S":"USER#ada"},"id":{"S":"POST#1"},"likes":{"N":"2"}}'
is 'the item' 2 aws dynamodb get-item --table-name $table --key '{"user":{"S":"USER#ada"},"id":{"S":"POST#1"}}' --query Item.likes.N

# Roles
for name in lambda ec2; do
  aws iam create-role --role-name postagram-$name --assume-role-policy-document "$(trust $name)" >/dev/null
  aws iam put-role-policy --role-name postagram-$name --policy-name uses --policy-document "$anything"
done
is 'the principal' lambda.amazonaws.com aws iam get-role --role-name postagram-lambda \
  --query 'Role.AssumeRolePolicyDocument.Statement[0].Principal.Service'
aws iam create-instance-profile --instance-profile-name postagram-ec2 >/dev/null
aws iam add-role-to-instance-profile --instance-profile-name postagram-ec2 --role-name postagram-ec2
is 'the role' postagram-ec2 aws iam get-instance-profile --instance-profile-name postagram-ec2 \
  --query 'InstanceProfile.Roles[0].RoleName'

# A function, and its notifications of uploads
group=/aws/lambda/postagram-labeler
aws logs create-log-group --log-group-name $group
aws logs put-retention-policy --log-group-name $group --retention-in-days 14
is 'the retention' 14 aws logs describe-log-groups --log-group-name-prefix $group --query 'logGroups[0].retentionInDays'
cat >"$dir/bootstrap" <<'END'
#!/usr/bin/env python3
import os, urllib.request
api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
while True:
    with urllib.request.urlopen(api + "next") as job:
        number, event = job.headers["Lambda-Runtime-Aws-Request-Id"], job.read()
    print("heard", event.decode(), flush=True)
    urllib.request.urlopen(urllib.request.Request(api + number + "/response", data=event, method="POST"))
END
python3 -m zipfile -c "$dir/labeler.zip" "$dir/bootstrap"
function=$(aws lambda create-function --function-name postagram-labeler --runtime provided.al2023 --handler bootstrap \
  --role "arn:aws:iam::$account:role/postagram-lambda" --zip-file "fileb://$dir/labeler.zip" --timeout 30 \
  --environment "Variables={TABLE=$table}" --query FunctionArn)
until_is 'the function' Active aws lambda get-function --function-name postagram-labeler --query Configuration.State
is 'the variable' $table aws lambda get-function-configuration --function-name postagram-labeler --query Environment.Variables.TABLE
aws lambda invoke --function-name postagram-labeler --payload '{"n":1}' "$dir/answer" >/dev/null
is 'the answer' '{"n":1}' cat "$dir/answer"
notification="{\"LambdaFunctionConfigurations\":[{\"LambdaFunctionArn\":\"$function\",\"Events\":[\"s3:ObjectCreated:*\"]}]}"
refused InvalidArgument aws s3api put-bucket-notification-configuration --bucket "$images" --notification-configuration "$notification"
aws lambda add-permission --function-name postagram-labeler --statement-id images --action lambda:InvokeFunction \
  --principal s3.amazonaws.com --source-arn "arn:aws:s3:::$images" --source-account "$account" >/dev/null
aws s3api put-bucket-notification-configuration --bucket "$images" --notification-configuration "$notification"
is 'the notified function' "$function" aws s3api get-bucket-notification-configuration --bucket "$images" \
  --query 'LambdaFunctionConfigurations[0].LambdaFunctionArn'
# A changed notification takes a moment to be in force.
sleep 1
aws s3 cp --only-show-errors "$dir/é 1.jpg" "s3://$images/ada/é 2.jpg"
until_is 'the upload in the log' 1 aws logs filter-log-events --log-group-name $group --filter-pattern '%C3%A9+2.jpg' \
  --query 'length(events)'

# The resources of a service
vpc=$(aws ec2 describe-vpcs --filters Name=is-default,Values=true --query 'Vpcs[0].VpcId')
read -r one two _ <<<"$(aws ec2 describe-subnets --filters "Name=vpc-id,Values=$vpc" --query 'Subnets[].SubnetId')"
firewall=$(aws ec2 create-security-group --group-name postagram-web --description web --vpc-id "$vpc" --query GroupId)
aws ec2 authorize-security-group-ingress --group-id "$firewall" --protocol tcp --port 80 --cidr 0.0.0.0/0 >/dev/null
refused InvalidPermission.Duplicate aws ec2 authorize-security-group-ingress --group-id "$firewall" --protocol tcp --port 80 --cidr 0.0.0.0/0
image=$(aws ec2 describe-images --owners amazon --filters 'Name=name,Values=al2023-ami-2023*x86_64' --query 'Images[0].ImageId')
aws ec2 create-launch-template --launch-template-name postagram-web \
  --launch-template-data "ImageId=$image,InstanceType=t3.micro,IamInstanceProfile={Name=postagram-ec2},SecurityGroupIds=$firewall" >/dev/null
targets=$(aws elbv2 create-target-group --name postagram-web --protocol HTTP --port 8080 --vpc-id "$vpc" \
  --query 'TargetGroups[0].TargetGroupArn')
balancer=$(aws elbv2 create-load-balancer --name postagram-web --subnets "$one" "$two" --security-groups "$firewall" \
  --query 'LoadBalancers[0].LoadBalancerArn')
aws elbv2 create-listener --load-balancer-arn "$balancer" --protocol HTTP --port 80 \
  --default-actions "Type=forward,TargetGroupArn=$targets" >/dev/null
until_is 'the load balancer' active aws elbv2 describe-load-balancers --names postagram-web --query 'LoadBalancers[0].State.Code'
aws autoscaling create-auto-scaling-group --auto-scaling-group-name postagram-web --min-size 0 --max-size 4 \
  --launch-template LaunchTemplateName=postagram-web,Version=1 --vpc-zone-identifier "$one,$two" --target-group-arns "$targets"
is 'the group' 4 aws autoscaling describe-auto-scaling-groups --auto-scaling-group-names postagram-web \
  --query 'AutoScalingGroups[0].MaxSize'

# Deletion
aws autoscaling delete-auto-scaling-group --auto-scaling-group-name postagram-web --force-delete
until_is 'the number of groups' 0 aws autoscaling describe-auto-scaling-groups --query 'length(AutoScalingGroups)'
aws elbv2 delete-load-balancer --load-balancer-arn "$balancer"
aws elbv2 delete-target-group --target-group-arn "$targets"
aws ec2 delete-launch-template --launch-template-name postagram-web >/dev/null
# Newer versions of the CLI print "true", older ones nothing.
gone() { aws ec2 delete-security-group --group-id "$firewall" >/dev/null && echo gone; }
until_is 'the firewall' gone gone
refused BucketNotEmpty aws s3api delete-bucket --bucket "$images"
aws s3 rb --force "s3://$images" >/dev/null
aws lambda delete-function --function-name postagram-labeler >/dev/null
aws logs delete-log-group --log-group-name $group
aws dynamodb delete-table --table-name $table >/dev/null
aws iam remove-role-from-instance-profile --instance-profile-name postagram-ec2 --role-name postagram-ec2
aws iam delete-instance-profile --instance-profile-name postagram-ec2
for name in lambda ec2; do
  aws iam delete-role-policy --role-name postagram-$name --policy-name uses
  aws iam delete-role --role-name postagram-$name
done
is 'the number of buckets' 0 aws s3api list-buckets --query 'length(Buckets)'
until_is 'the number of tables' 0 aws dynamodb list-tables --query 'length(TableNames)'
is 'the number of functions' 0 aws lambda list-functions --query 'length(Functions)'
refused NoSuchEntity aws iam get-role --role-name postagram-ec2
