//! Every field of `stack.yaml`, described once. The reader, the JSON Schema and the reference in `docs/stack.md` derive
//! from this table.

#[cfg(test)]
mod tests;
mod value_type;

pub use value_type::{ValueType, Variables};

use super::{KEY_TYPES, METHODS, NAMESPACES, RETENTIONS, RUNTIMES, STREAMS};

/// A field.
#[derive(Debug)]
pub struct Field {
    /// Its place, such as `services.*.instances.max`; `*` matches an entry's name.
    pub path: &'static str,
    /// Its description.
    pub words: &'static str,
    /// The type of its value.
    pub value_type: ValueType,
    /// Whether it is required.
    pub required: bool,
}

const fn field(path: &'static str, value_type: ValueType, words: &'static str) -> Field {
    Field { path, words, value_type, required: false }
}

const fn required(path: &'static str, value_type: ValueType, words: &'static str) -> Field {
    Field { path, words, value_type, required: true }
}

const fn number(path: &'static str, least: u16, most: u16, usual: u16, words: &'static str) -> Field {
    field(path, ValueType::Number { least, most, usual: Some(usual) }, words)
}

/// Days in a lifecycle rule.
const fn days(path: &'static str, words: &'static str) -> Field {
    field(path, ValueType::Number { least: 1, most: 36_500, usual: None }, words)
}

const PACKAGE: &str = "A package of the Cargo workspace around this file; where there is no workspace, a program that the \
                       deployer brings: `labeler` or `service`. Either this, `binary` or `files`.";
const BINARY: &str = "A finished program, relative to this file.";
const RETENTION: &str = "How long its log is kept, in days; forever if left out.";
const ENVIRONMENT: &str = "Variables. References such as ${buckets.images.name} stand for values that AWS assigns; write $${ \
                           for ${ itself. Instead of a text: { secret: NAME } with an optional `key`, { parameter: NAME }, \
                           or { value: TEXT, sensitive: true }; see below.";
const INCLUDE: &str = "The attributes it copies besides the keys: all if left out, none if the list is empty.";
const USES: &str = "The resources it uses, which determine its permissions.";
const ACCESS: &str = "The access to each: read, write or read_write.";

/// Domain names, without a dot at the end.
const DOMAIN: &str = "^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z0-9][a-z0-9-]{0,61}[a-z0-9]$";
const CERTIFICATE: &str = "^arn:aws[a-z-]*:acm:[a-z0-9-]+:[0-9]{12}:certificate/[A-Za-z0-9-]+$";

/// What a listener rule takes as a path and as a host (docs/aws.md §9.10).
const PATH_PATTERN: &str = "^/[A-Za-z0-9_.$/~\"'@:+&*?-]{0,127}$";
const HOST_PATTERN: &str = "^[A-Za-z0-9.*?-]*\\.[A-Za-z*?]+$";
/// Keys that AWS returns as they were named.
const KEY: ValueType =
    ValueType::Like("^(alias/[A-Za-z0-9/_-]+|arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+)$", "alias/app");
/// Keys that AWS returns by their ARNs, so that an alias could not be compared.
const KEY_ARN: ValueType = ValueType::Like(
    "^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$",
    "arn:aws:kms:us-east-1:123456789012:key/12345678-1234-1234-1234-123456789012",
);
/// Web ACLs of the scope REGIONAL.
const WEB_ACL: ValueType = ValueType::Like(
    "^(none|arn:aws[a-z-]*:wafv2:[a-z0-9-]+:[0-9]{12}:regional/webacl/[A-Za-z0-9_-]+/[A-Za-z0-9-]+)$",
    "arn:aws:wafv2:us-east-1:123456789012:regional/webacl/app/12345678-1234-1234-1234-123456789012",
);
const LOG_KEY: &str = "The KMS key, by its ARN, that its log is encrypted with; a key of CloudWatch Logs if left out.";

const DESTINATION: &str = "^(\\$\\{buckets\\.[a-z0-9-]+\\.arn\\}|arn:aws[a-z-]*:(s3:::[a-z0-9.-]+|(sqs|sns):[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]+))$";

/// Every field, in the order of the reference. A mapping precedes its fields.
pub const FIELDS: &[Field] = &[
    required("name", ValueType::Name, "The stack's name, which all names in the cloud begin with."),
    required("region", ValueType::Region, "The region to deploy to."),
    field("account", ValueType::Account, "The only account to deploy to."),
    field("tags", ValueType::Tags, "Tags for every resource."),
    field(
        "roles",
        ValueType::Fields,
        "Existing roles to use instead of creating any, as AWS Academy accounts require.",
    ),
    required("roles.existing", ValueType::Text, "The role of every function, such as LabRole."),
    field(
        "roles.instance_profile",
        ValueType::Text,
        "The instance profile of every service, such as LabInstanceProfile.",
    ),
    field(
        "network",
        ValueType::WordOrFields(&["own"]),
        "The network of the services: `own` for one that the stack makes, or an existing one with `vpc` and `subnets`. The \
         region's default network if left out. Fixed at creation.",
    ),
    field(
        "network.own",
        ValueType::Block("10.0.0.0/16"),
        "The private addresses of a network that the stack makes, a /16 to a /25. Its subnets are quarters of it.",
    ),
    field(
        "network.vpc",
        ValueType::Like("^vpc-[0-9a-f]+$", "vpc-0a1b2c3d4e5f60718"),
        "The id of an existing VPC. Either this or `own`.",
    ),
    field("network.subnets", ValueType::Texts, "The ids of public subnets in it, one in each of two or three zones."),
    field("buckets", ValueType::Entries("A private, encrypted bucket."), "Private buckets."),
    field("buckets.*.cors", ValueType::Fields, "The web pages that may use it (CORS)."),
    field("buckets.*.cors.origins", ValueType::SomeTexts("*"), "Origins, or *."),
    required("buckets.*.cors.methods", ValueType::SomeOf(METHODS), "HTTP methods."),
    field("buckets.*.cors.headers", ValueType::Texts, "Request headers."),
    field("buckets.*.cors.expose", ValueType::Texts, "Response headers that pages may read."),
    field(
        "buckets.*.cors.max_age_s",
        ValueType::Number { least: 0, most: u16::MAX, usual: None },
        "How long a browser may cache the answer to a preflight, in seconds.",
    ),
    field("buckets.*.on_upload", ValueType::Fields, "The function to notify of uploads."),
    required("buckets.*.on_upload.function", ValueType::Name, "A function of this file."),
    field("buckets.*.on_upload.prefix", ValueType::Text, "Only keys with this prefix."),
    field("buckets.*.on_upload.suffix", ValueType::Text, "Only keys with this suffix."),
    field("buckets.*.protect", ValueType::Switch, "Whether the deployer refuses to delete it."),
    field(
        "buckets.*.versioning",
        ValueType::Switch,
        "Whether overwritten and deleted objects are kept as older versions.",
    ),
    field("buckets.*.lifecycle", ValueType::Fields, "When S3 deletes its objects; never if left out."),
    days("buckets.*.lifecycle.expire_days", "The days after which an object is deleted, counted from its upload."),
    days(
        "buckets.*.lifecycle.noncurrent_days",
        "The days after which an older version is deleted, counted from when it was overwritten or deleted.",
    ),
    field(
        "buckets.*.key",
        KEY,
        "The KMS key, by its alias or ARN, that new objects are encrypted with; a key of S3 if left out. See below.",
    ),
    field(
        "buckets.*.namespace",
        ValueType::OneOf(NAMESPACES),
        "Where its name is unique: among all accounts, or in the account's regional namespace, in which no other account \
         can create a bucket. Part of its name: another namespace makes another bucket.",
    ),
    field("tables", ValueType::Entries("A table, billed by request."), "Tables, billed by request."),
    required(
        "tables.*.partition_key",
        ValueType::TextOrFields,
        "The partition key, or just its name. Fixed at creation.",
    ),
    required("tables.*.partition_key.name", ValueType::Text, "The attribute."),
    field("tables.*.partition_key.type", ValueType::OneOf(KEY_TYPES), "Its type."),
    field("tables.*.sort_key", ValueType::TextOrFields, "The sort key, or just its name. Fixed at creation."),
    required("tables.*.sort_key.name", ValueType::Text, "The attribute."),
    field("tables.*.sort_key.type", ValueType::OneOf(KEY_TYPES), "Its type."),
    field(
        "tables.*.indexes",
        ValueType::Entries("A global secondary index. Another key or attribute rebuilds it."),
        "Global secondary indexes, at most 20.",
    ),
    required("tables.*.indexes.*.partition_key", ValueType::TextOrFields, "Its partition key, or just its name."),
    required("tables.*.indexes.*.partition_key.name", ValueType::Text, "The attribute."),
    field("tables.*.indexes.*.partition_key.type", ValueType::OneOf(KEY_TYPES), "Its type."),
    field("tables.*.indexes.*.sort_key", ValueType::TextOrFields, "Its sort key, or just its name."),
    required("tables.*.indexes.*.sort_key.name", ValueType::Text, "The attribute."),
    field("tables.*.indexes.*.sort_key.type", ValueType::OneOf(KEY_TYPES), "Its type."),
    field("tables.*.indexes.*.include", ValueType::Texts, INCLUDE),
    field(
        "tables.*.local_indexes",
        ValueType::Entries("A local secondary index, with the table's partition key."),
        "Local secondary indexes, at most 5. Fixed at creation.",
    ),
    required("tables.*.local_indexes.*.sort_key", ValueType::TextOrFields, "Its sort key, or just its name."),
    required("tables.*.local_indexes.*.sort_key.name", ValueType::Text, "The attribute."),
    field("tables.*.local_indexes.*.sort_key.type", ValueType::OneOf(KEY_TYPES), "Its type."),
    field("tables.*.local_indexes.*.include", ValueType::Texts, INCLUDE),
    field("tables.*.protect", ValueType::Switch, "Whether AWS refuses to delete it."),
    field(
        "tables.*.point_in_time_recovery",
        ValueType::Switch,
        "Whether it can be restored to any second of the last 35 days.",
    ),
    field(
        "tables.*.time_to_live",
        ValueType::Text,
        "The number attribute with the time at which a row is deleted, in seconds since 1970. One change an hour.",
    ),
    field("tables.*.stream", ValueType::OneOf(STREAMS), "The data that its stream records of each change."),
    field(
        "tables.*.key",
        KEY_ARN,
        "The KMS key, by its ARN, that it is encrypted with; a key of DynamoDB if left out. At most four changes a day.",
    ),
    field("functions", ValueType::Entries("A function."), "Lambda functions."),
    field("functions.*.package", ValueType::Text, PACKAGE),
    field("functions.*.binary", ValueType::Text, BINARY),
    field(
        "functions.*.files",
        ValueType::Text,
        "A folder with code for one of Lambda's runtimes, relative to this file. Its zip is the function's code; see below.",
    ),
    field(
        "functions.*.runtime",
        ValueType::Among(RUNTIMES),
        "The runtime of the code, a version of Python or Node.js. Required with `files`.",
    ),
    field(
        "functions.*.handler",
        ValueType::Text,
        "The function that the runtime calls: a file of the folder without its extension, a dot and the function's name, \
         such as app.handler. Required with `files`.",
    ),
    field("functions.*.architecture", ValueType::OneOf(&["x86_64", "arm64"]), "The processor architecture."),
    number("functions.*.memory_mb", 128, 10_240, 128, "Memory in MB."),
    number("functions.*.timeout_s", 1, 900, 30, "The longest invocation, in seconds."),
    field(
        "functions.*.concurrency",
        ValueType::Number { least: 0, most: 10_000, usual: None },
        "How many invocations may run at once, reserved for it out of the account's concurrency; 0 stops it. Shared with \
         the account's other functions if left out.",
    ),
    field(
        "functions.*.on_failure",
        ValueType::Like(DESTINATION, "${buckets.failures.arn}"),
        "Where Lambda records events that have failed all attempts: a bucket of this file, `${buckets.NAME.arn}`, or the \
         ARN of a bucket, a standard SQS queue or a standard SNS topic. Without it, they are lost.",
    ),
    field("functions.*.tracing", ValueType::Switch, "Whether X-Ray traces its invocations."),
    field(
        "functions.*.key",
        KEY_ARN,
        "The KMS key, by its ARN, that its environment is encrypted with; a key of Lambda if left out.",
    ),
    field("functions.*.log_retention_days", ValueType::OneOfNumbers(RETENTIONS), RETENTION),
    field("functions.*.log_key", KEY_ARN, LOG_KEY),
    field("functions.*.environment", ValueType::Variables(Variables::Function), ENVIRONMENT),
    field("functions.*.uses", ValueType::Fields, USES),
    field("functions.*.uses.buckets", ValueType::Accesses, ACCESS),
    field("functions.*.uses.tables", ValueType::Accesses, ACCESS),
    field("functions.*.uses.rekognition", ValueType::Switch, "Whether it calls Rekognition's DetectLabels."),
    field("services", ValueType::Entries("A service."), "Programs on a group of instances behind a load balancer."),
    field("services.*.package", ValueType::Text, PACKAGE),
    field("services.*.binary", ValueType::Text, BINARY),
    field(
        "services.*.files",
        ValueType::Text,
        "A folder with a program in any language, relative to this file. It is packed, and unpacked on the instances; see \
         below.",
    ),
    field(
        "services.*.run",
        ValueType::Text,
        "The command that runs the program, in its folder, by bash. It listens on $PORT at 0.0.0.0. Required with \
         `files`.",
    ),
    field(
        "services.*.packages",
        ValueType::Texts,
        "Packages of Amazon Linux 2023 that `dnf` installs on a new instance, such as python3-pip. Only with `files`.",
    ),
    field(
        "services.*.setup",
        ValueType::Text,
        "A command that each new instance runs once in the folder, by bash and as root, before the program starts. Only \
         with `files`.",
    ),
    number("services.*.port", 1, u16::MAX, 8080, "The port it listens on; 80 if left out with `load_balancer: none`."),
    required("services.*.instance_type", ValueType::InstanceType, "The instance type; the architecture follows."),
    field("services.*.instances", ValueType::Fields, "The number of instances."),
    number("services.*.instances.min", 0, 100, 1, "The smallest number."),
    number("services.*.instances.max", 1, 100, 4, "The largest number."),
    number("services.*.instances.cpu_percent", 10, 100, 50, "The target CPU utilisation, in percent."),
    field("services.*.health_check", ValueType::TextOrFields, "The health check, or just its path."),
    field("services.*.health_check.path", ValueType::Path("/"), "The path to request."),
    number("services.*.health_check.interval_s", 5, 300, 10, "The interval in seconds."),
    number("services.*.health_check.timeout_s", 2, 120, 5, "The timeout in seconds, shorter than the interval."),
    number("services.*.health_check.healthy", 2, 10, 2, "Successes in a row that make a target healthy."),
    number("services.*.health_check.unhealthy", 2, 10, 2, "Failures in a row that make a target unhealthy."),
    field(
        "services.*.health_check.matcher",
        ValueType::Statuses("200"),
        "The statuses that count as success, such as 200, 200-299 or 200,204.",
    ),
    field(
        "services.*.load_balancer",
        ValueType::WordOrFields(&["internal", "none"]),
        "The load balancer in front of it: `internal` for one that is reachable from its VPC only, `none` for one instance \
         with an elastic IP address in place of it.",
    ),
    number(
        "services.*.load_balancer.port",
        1,
        u16::MAX,
        80,
        "The public port for plain HTTP, or for the redirect to HTTPS; not 443.",
    ),
    field(
        "services.*.load_balancer.allow",
        ValueType::SomeTexts("0.0.0.0/0"),
        "The CIDR blocks that may connect. An internal load balancer admits those of its VPC, and takes no others.",
    ),
    field("services.*.load_balancer.protect", ValueType::Switch, "Whether AWS refuses to delete it."),
    field(
        "services.*.load_balancer.internal",
        ValueType::Switch,
        "Whether it is reachable from its VPC only. A change replaces it, and its address changes.",
    ),
    field(
        "services.*.load_balancer.waf",
        WEB_ACL,
        "The ARN of an existing web ACL of AWS WAF that inspects its requests; `none` disassociates the one it has. If left \
         out, any that it has stays.",
    ),
    field(
        "services.*.behind",
        ValueType::Fields,
        "The service whose load balancer it shares, in place of one of its own.",
    ),
    required("services.*.behind.service", ValueType::Name, "The service with the load balancer."),
    field(
        "services.*.behind.path",
        ValueType::Like(PATH_PATTERN, "/api/*"),
        "The path of its requests, which reach it unchanged; * stands for any characters, ? for one. At least one of \
         `path` and `host`.",
    ),
    field(
        "services.*.behind.host",
        ValueType::Like(HOST_PATTERN, "api.example.org"),
        "The host of its requests, with the same wildcards. You manage its DNS; with HTTPS, the certificate has to cover it.",
    ),
    field(
        "services.*.access_logs",
        ValueType::Switch,
        "Whether its load balancer writes a log of all requests into the artifact bucket, where it is kept for 90 days.",
    ),
    field(
        "services.*.domain",
        ValueType::Like(DOMAIN, "app.example.org"),
        "The domain name to serve over HTTPS. If a public Route 53 hosted zone of the account holds it, its records are \
         managed; otherwise `up` prints the records to enter.",
    ),
    field(
        "services.*.certificate",
        ValueType::Like(
            CERTIFICATE,
            "arn:aws:acm:us-east-1:123456789012:certificate/12345678-1234-1234-1234-123456789012",
        ),
        "An issued certificate of AWS Certificate Manager in this region, to serve `domain` with; if left out, one is \
         requested for it.",
    ),
    field(
        "services.*.image",
        ValueType::Like("^ami-[0-9a-f]+$", "ami-0123456789abcdef0"),
        "The machine image; if left out, the newest Amazon Linux 2023 at creation.",
    ),
    number("services.*.disk_gb", 8, 16_384, 8, "The root disk in GB."),
    field(
        "services.*.key",
        KEY,
        "The KMS key, by its alias or ARN, that the root disks are encrypted with; the account's default key for volumes \
         if left out.",
    ),
    number("services.*.grace_period_s", 30, 7_200, 240, "How long a new instance may be unhealthy, in seconds."),
    field(
        "services.*.bake",
        ValueType::Minutes { least: 3, most: 2_880, usual: "`5m` on AWS, `0` with `--local` and other endpoints" },
        "How long AWS watches a new release before the roll-out counts as done, and rolls it back if more than 1 % of \
         the responses are 5xx, or more than half are 4xx (docs/commands.md); 0 turns it off.",
    ),
    field("services.*.log_retention_days", ValueType::OneOfNumbers(RETENTIONS), RETENTION),
    field("services.*.log_key", KEY_ARN, LOG_KEY),
    field("services.*.environment", ValueType::Variables(Variables::Service), ENVIRONMENT),
    field("services.*.uses", ValueType::Fields, USES),
    field("services.*.uses.buckets", ValueType::Accesses, ACCESS),
    field("services.*.uses.tables", ValueType::Accesses, ACCESS),
    field("outputs", ValueType::Variables(Variables::Outputs), "Outputs of the stack: see `deployer outputs`."),
    field("verify", ValueType::Fields, "Requests that check the running stack: see `deployer verify`."),
    field("verify.service", ValueType::Name, "The service that paths are requested from; the only one if left out."),
    required(
        "verify.steps",
        ValueType::Entries("A request, and the answer that it should get."),
        "Requests in this order. Texts may contain references, ${run}, which differs in each run, and captured values.",
    ),
    required(
        "verify.steps.*.request",
        ValueType::Like("^(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) \\S+$", "GET /posts"),
        "A method, and a path on the service or a whole URL. Redirects are not followed; a later step may request a \
         captured `location`.",
    ),
    field("verify.steps.*.headers", ValueType::Headers, "Request headers."),
    field("verify.steps.*.json", ValueType::Value, "JSON to send. At most one of `json`, `body`, `base64` and `file`."),
    field("verify.steps.*.body", ValueType::Text, "Text to send."),
    field("verify.steps.*.base64", ValueType::Text, "Bytes to send, in base64."),
    field("verify.steps.*.file", ValueType::Text, "A file to send, relative to this file."),
    field("verify.steps.*.expect", ValueType::Fields, "The expected answer. In texts, * matches any text."),
    field(
        "verify.steps.*.expect.status",
        ValueType::Statuses("200-299"),
        "The accepted statuses, such as 201 or 200,404.",
    ),
    field("verify.steps.*.expect.headers", ValueType::Headers, "Header values."),
    field("verify.steps.*.expect.body", ValueType::Text, "The body as text."),
    field(
        "verify.steps.*.expect.json",
        ValueType::Values,
        "Values by JSON pointer, such as /0/id for the id of the first item, or /*/id for that of any; null also means \
         absent.",
    ),
    field(
        "verify.steps.*.capture",
        ValueType::Entries("A variable, set from the answer."),
        "Variables to set; later steps use them as ${NAME}.",
    ),
    field("verify.steps.*.capture.*.json", ValueType::Text, "The JSON pointer of the value. Either this or `header`."),
    field("verify.steps.*.capture.*.header", ValueType::Text, "The header with the value."),
    field("verify.steps.*.capture.*.after", ValueType::Text, "Take only what follows this text."),
    number("verify.steps.*.timeout_s", 1, 300, 10, "How long one answer may take, in seconds."),
    number("verify.steps.*.within_s", 0, 3_600, 0, "Repeat it until the answer is as expected, for so many seconds."),
    field(
        "verify.steps.*.from",
        ValueType::Name,
        "The earlier step from which each repetition begins; this one if left out.",
    ),
    field(
        "verify.steps.*.always",
        ValueType::Switch,
        "Whether it runs even if an earlier step has failed, to clean up.",
    ),
];

impl Field {
    /// Returns the field at this path, which may contain names of entries.
    pub fn at(path: &str) -> Option<&'static Field> {
        FIELDS.iter().find(|field| field.fits(path))
    }

    /// Its key, the last part of its path.
    pub fn key(&self) -> &'static str {
        self.path.rsplit('.').next().unwrap_or(self.path)
    }

    fn fits(&self, path: &str) -> bool {
        fits(self.path, path)
    }
}

/// Whether a path has the form of a pattern, in which `*` stands for any one part.
pub(super) fn fits(pattern: &str, path: &str) -> bool {
    let parts = || pattern.split('.').zip(path.split('.'));
    pattern.split('.').count() == path.split('.').count()
        && parts().all(|(wanted, part)| wanted == "*" || wanted == part)
}

/// The fields of the mapping at this path; an empty path means the file.
pub fn below(path: &str) -> impl Iterator<Item = &'static Field> {
    FIELDS.iter().filter(move |field| fits(field.path.rsplit_once('.').map_or("", |(above, _)| above), path))
}

/// The reference of `stack.yaml`, as the table in `docs/stack.md`.
pub fn reference() -> String {
    let mut table = String::from("| field | takes | meaning |\n|---|---|---|\n");
    for field in FIELDS {
        let required = if field.required { ", required" } else { "" };
        table += &format!("| `{}` | {}{required} | {} |\n", field.path, field.value_type.words(), field.words);
    }
    table
}
