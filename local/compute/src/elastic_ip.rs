//! `aws ec2 associate-address`, by which an instance takes an elastic IP address.

use super::commands::{Done, Tools};

/// `aws ec2 associate-address --allocation-id ID --instance-id ID`, with `--region`, `--allow-reassociation` and the
/// timeouts of the AWS CLI.
pub async fn aws(tools: &dyn Tools, arguments: &[&str]) -> Done {
    let refused = |why: String| Done::failed(format!("aws {}: {why}", arguments.join(" ")));
    let ["ec2", "associate-address", rest @ ..] = arguments else {
        return refused("this does not exist on a local instance".to_owned());
    };
    let (mut region, mut allocation, mut instance, mut may_move) = (None, None, None, true);
    let mut rest = rest.iter();
    while let Some(option) = rest.next() {
        if let Some(may) = [("--allow-reassociation", true), ("--no-allow-reassociation", false)]
            .into_iter()
            .find_map(|(name, may)| (*option == name).then_some(may))
        {
            may_move = may;
            continue;
        }
        let Some(value) = rest.next() else { return refused(format!("{option}: expected one argument")) };
        match *option {
            "--region" => region = Some(*value),
            "--allocation-id" => allocation = Some(*value),
            "--instance-id" => instance = Some(*value),
            "--cli-connect-timeout" | "--cli-read-timeout" if value.parse::<u32>().is_ok() => (),
            _ => return refused(format!("Unknown options: {option}")),
        }
    }
    let (Some(allocation), Some(instance)) = (allocation, instance) else {
        return refused("--allocation-id and --instance-id are required on a local instance".to_owned());
    };
    match tools.associate(region, allocation, instance, may_move).await {
        Ok(association) => {
            Done { output: format!("{{\n    \"AssociationId\": \"{association}\"\n}}\n").into(), ..Done::default() }
        }
        Err(why) => Done { status: 254, output: Vec::new(), errors: format!("\n{why}\n") },
    }
}
