//! The files of a configuration.

use std::{collections::BTreeMap, path::PathBuf};

use super::{
    Sheet,
    hcl::{Block, Body, Expr},
    sheet::{FILES, Mark, USER_DATA},
    stored_values::NO_VALUE,
};
use crate::{machine::pin::Home, output::counted::counted};

/// The versions of Terraform that have import blocks.
const TERRAFORM: &str = ">= 1.5";
/// The versions of the provider that leave the encryption of buckets as it is (docs/aws.md §24).
const PROVIDER: &str = "~> 6.40";

/// The values of variables that may be secret.
const SECRETS: &str = "secrets.auto.tfvars";

/// The files that an export writes beside those of the sections of `stack.yaml`.
/// The file with the versions, which begins with the mark of an export.
pub const VERSIONS: &str = "versions.tf";
const VARIABLES: &str = "variables.tf";
const IMPORTS: &str = "imports.tf";
const GITIGNORE: &str = ".gitignore";
const README: &str = "README.md";

/// The first line of [`VERSIONS`]: only a folder that has it is written to again.
const MARK: &str = "# Written by `deployer export terraform`, which replaces its files with --overwrite.";

/// Whether a file of versions is that of an export.
pub fn is_marked(text: &str) -> bool {
    text.lines().next() == Some(MARK)
}

/// Every file that an export may write, apart from those in a folder: what an earlier one wrote and this one does not, is
/// removed.
pub const ALL: &[&str] = &[
    GITIGNORE,
    README,
    IMPORTS,
    SECRETS,
    VARIABLES,
    VERSIONS,
    "artifacts.tf",
    "buckets.tf",
    "functions.tf",
    "network.tf",
    "secrets.tf",
    "services.tf",
    "tables.tf",
];

/// A file, with its path below the folder of the configuration.
#[derive(Debug)]
pub struct Written {
    /// The path.
    pub path: PathBuf,
    /// The contents.
    pub contents: Vec<u8>,
    /// Whether it may hold secrets.
    pub is_secret: bool,
}

impl Written {
    fn text(name: &str, text: String) -> Written {
        Written { path: name.into(), contents: text.into(), is_secret: false }
    }
}

impl Sheet {
    /// The number of resources that are imported.
    pub fn resources(&self) -> usize {
        self.imports.len()
    }

    /// Notes on what the configuration leaves out.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }
}

/// All files of a configuration, in the order in which they are written: what Git ignores is ignored before it exists, and
/// a folder that is left half written has its mark.
pub fn written(mut sheet: Sheet, home: &Home) -> Vec<Written> {
    sheet.close();
    let mut files = vec![
        Written::text(GITIGNORE, ignored()),
        Written::text(VERSIONS, versions(home)),
        Written::text(IMPORTS, blocks(&sheet.imports)),
    ];
    files.extend(sheet.blocks.iter().map(|(name, all)| Written::text(name, blocks(all))));
    if !sheet.variables.is_empty() {
        files.push(Written::text(VARIABLES, blocks(sheet.variables.values())));
    }
    if !sheet.secrets.is_empty() {
        let values = sheet.secrets.iter().fold(Body::new(), |body, (name, value)| body.set(name, value.clone()));
        files.push(Written { is_secret: true, ..Written::text(SECRETS, values.write()) });
    }
    files.push(Written::text(README, readme(&sheet, home)));
    for file in sheet.files {
        let path = file.path();
        files.push(Written { path, contents: file.contents, is_secret: file.is_secret });
    }
    files
}

fn versions(home: &Home) -> String {
    let provider =
        Expr::Map(vec![("source".into(), Expr::text("hashicorp/aws")), ("version".into(), Expr::text(PROVIDER))]);
    let terraform =
        Body::new().text("required_version", TERRAFORM).block("required_providers", Body::new().set("aws", provider));
    let provider = Body::new()
        .text("region", &home.region)
        .set("allowed_account_ids", Expr::List(vec![Expr::text(&home.account)]));
    let blocks = blocks(&[Block::new("terraform", &[], terraform), Block::new("provider", &["aws"], provider)]);
    format!("{MARK}\n\n{blocks}")
}

fn blocks<'a>(blocks: impl IntoIterator<Item = &'a Block>) -> String {
    blocks.into_iter().map(Block::write).collect::<Vec<_>>().join("\n")
}

/// The `.gitignore`: files that do not belong in a repository, including those of an earlier export.
fn ignored() -> String {
    format!("/{FILES}/*{USER_DATA}\n/{SECRETS}\n*.tfplan\n*.tfstate*\n.terraform/\n")
}

fn readme(sheet: &Sheet, home: &Home) -> String {
    let Home { stack, account, region } = home;
    let resources = sheet.resources();
    let left_out: String = sheet.left_out.iter().map(|what| format!("- {what}\n")).collect();
    let left_out = match left_out.is_empty() {
        true => String::new(),
        false => format!("\n## What is left out\n\n{left_out}"),
    };
    let marked = sheet.marked.len();
    let marks = marks(sheet);
    let anew = match sheet.all_of("aws_ssm_parameter").is_empty()
        && sheet.all_of("aws_secretsmanager_secret").is_empty()
    {
        true => String::new(),
        false => format!(
            "\nThe configuration has no values of secrets and parameters. If Terraform creates one anew, such as under another name or after a\n\
             deletion, a secret has no value, and a parameter has the value `{NO_VALUE}`. Set it before a program reads\n\
             it, with `aws secretsmanager put-secret-value` or `aws ssm put-parameter --overwrite`.\n"
        ),
    };
    let secret = match sheet.secrets.is_empty() && sheet.files.iter().all(|file| !file.name.ends_with(USER_DATA)) {
        true => "",
        false => {
            "\nThe files listed in `.gitignore` may hold secrets: keep them out of repositories. Terraform needs them to plan,\n\
             so transfer them separately to each clone in which you run it.\n"
        }
    };
    let programs = if sheet.all_of("aws_launch_template").is_empty() { "" } else { PROGRAMS };
    format!(
        "# {stack} in Terraform

The stack `{stack}` of account {account} in {region}, written by `deployer export terraform`: {resources} resources, each
with an import block in `imports.tf`. With credentials of that account:

```sh
terraform init
terraform plan
terraform apply
```

`terraform plan` should end with \"{resources} to import, 0 to add, {marked} to change, 0 to destroy\". If it shows anything
else, look at it before you apply. After `terraform apply`, delete `imports.tf`.
{marks}
From then on, one tool should change the stack. The tags of the deployer stay, so that it still knows the stack:
`deployer down` would remove it, and `deployer up` would change it back to its `stack.yaml`.

The state of Terraform contains values of variables, and parameters of Parameter Store in clear: keep it in a backend that is
encrypted.
{anew}{secret}{programs}
`lifecycle` blocks say why Terraform leaves some arguments as they are. Objects in buckets, rows of tables, log events,
versions of functions, and a network that the stack has not made are not part of the configuration.
{left_out}"
    )
}

/// How to deploy another program of a service.
const PROGRAMS: &str = "
The program of a service is an object whose key has its hash, and the user data of its launch template names both. To deploy
another program, add a second `aws_s3_object` with its key, and change the user data. Instances get the new template when they
are replaced, by an instance refresh of the Auto Scaling group. Keep the old object until the refresh has ended: instances of
the old template read it. With a new key in its place, `terraform apply` would remove it before that.
";

/// The reasons why the plan has changes.
fn marks(sheet: &Sheet) -> String {
    let mut counts: BTreeMap<Mark, usize> = BTreeMap::new();
    sheet.marked.values().for_each(|mark| *counts.entry(*mark).or_default() += 1);
    let lines: String =
        counts.iter().map(|((noun, why), count)| format!("- {}: {why}\n", counted(*count, noun))).collect();
    match lines.is_empty() {
        true => lines,
        false => format!("\nThe changes are expected:\n\n{lines}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Address, Owner};

    #[test]
    fn files_that_may_hold_secrets_are_ignored_by_git() {
        let mut sheet = Sheet::default();
        let address = Address { kind: "function", key: "f".into(), section: "functions.f".into() };
        sheet.begin(&address, &Owner::Parent);
        let token = sheet.secret("environment.TOKEN", "${a}\"b\"");
        sheet.add("aws_lambda_function", "app-f", Body::new().set("x", token));
        sheet.file("f-user-data.yaml", b"TOKEN=1".to_vec(), true);
        sheet.file("f.zip", b"zip".to_vec(), false);
        let home = Home { stack: "app".into(), account: "123456789012".into(), region: "eu-west-3".into() };
        let files = written(sheet, &home);
        let text = |name: &str| {
            let file = files.iter().find(|file| file.path.as_os_str() == name).expect(name);
            (String::from_utf8(file.contents.clone()).expect("text"), file.is_secret)
        };
        assert_eq!(text("secrets.auto.tfvars"), ("function_f_environment_TOKEN = \"$${a}\\\"b\\\"\"\n".into(), true));
        let ignored = "/files/*-user-data.yaml\n/secrets.auto.tfvars\n*.tfplan\n*.tfstate*\n.terraform/\n";
        assert_eq!(text(".gitignore").0, ignored);
        assert_eq!(files[0].path, PathBuf::from(".gitignore"), "before there is anything to ignore");
        assert!(files[1].path.as_os_str() == VERSIONS && is_marked(&text(VERSIONS).0));
        assert!(text("files/f-user-data.yaml").1 && !text("files/f.zip").1);
        assert!(text("functions.tf").0.contains("x = var.function_f_environment_TOKEN"));
        assert!(text("variables.tf").0.contains("sensitive   = true"));
        assert!(
            files
                .iter()
                .filter(|it| it.path.components().count() == 1)
                .all(|it| { ALL.iter().any(|name| it.path == PathBuf::from(name)) })
        );
    }
}
