//! The unit that takes the elastic IP address.

use super::{PAUSE_S, UserData};

impl UserData {
    /// A unit that gives the elastic IP address of the service to the instance, with its role, and takes it from an instance
    /// that has it. The role may not be in effect yet: it is tried until EC2 agrees. Then connections through the address
    /// from the launch end, so the service, which downloads its program, starts after the first attempt (docs/aws.md §8.7).
    pub(super) fn address_files(&self) -> String {
        let UserData { stack, service, region, .. } = self;
        let (unit, Some(address)) = (self.unit(), &self.address) else { return String::new() };
        format!(
            "\
- path: /opt/{unit}/address
  permissions: '0644'
  content: |
    [ \"$1\" = taken ] || aws ec2 associate-address --region {region} --cli-connect-timeout 5 --cli-read-timeout 10 --allocation-id {address} --instance-id $(cat /var/lib/cloud/data/instance-id) --allow-reassociation > /dev/null || {{
      sleep {PAUSE_S}
      false
    }}
- path: /etc/systemd/system/{unit}-address.service
  permissions: '0644'
  content: |
    [Unit]
    Description={stack} {service}: elastic IP address
    Wants=network-online.target
    After=network-online.target
    StartLimitIntervalSec=0
    [Service]
    ExecStartPre=/usr/bin/bash /opt/{unit}/address
    ExecStart=/usr/bin/bash /opt/{unit}/address taken
    Restart=on-failure
    RestartSec=2
    [Install]
    WantedBy=multi-user.target
"
        )
    }
}
