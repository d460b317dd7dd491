//! The reports of an instance to the artifact bucket.

use super::UserData;

/// The prefix in the artifact bucket for the reports of a service's instances.
pub fn reports_prefix(service: &str) -> String {
    format!("{REPORTS}{service}/")
}

/// The prefix in the artifact bucket for the reports of all instances.
pub const REPORTS: &str = "boot/";

impl UserData {
    /// Reports to the artifact bucket, because the console and the journal of an instance are lost with it: when it
    /// boots, when its service first answers, and after every exit of the service (docs/aws.md §8.5). A report has at
    /// most 8 KB, and no values of variables. The unit starts once the commands before the program have ended: they may
    /// take longer than the program is given to answer.
    pub(super) fn report_files(&self) -> String {
        let UserData { stack, service, region, bucket, port, .. } = self;
        let unit = self.unit();
        let reports = reports_prefix(service);
        format!(
            "\
- path: /opt/{unit}/report
  permissions: '0644'
  content: |
    id=$(cat /var/lib/cloud/data/instance-id)
    http=
    [ \"$1\" = answers ] && http=$(curl --silent --output /dev/null --write-out '%{{http_code}}' --max-time 5 --retry 24 --retry-delay 5 --retry-connrefused http://127.0.0.1:{port}/)
    {{
      echo \"stage=$1 port={port} http=$http result=$SERVICE_RESULT code=$EXIT_CODE status=$EXIT_STATUS\"
      systemctl show {unit} --property=ActiveState,SubState,NRestarts
      journalctl --unit={unit} --lines=100 --no-pager --quiet --output=short-iso | tail -c 7000
    }} 2>&1 | aws s3 cp --only-show-errors --region {region} - s3://{bucket}/{reports}$id/$1
- path: /etc/systemd/system/{unit}-report.service
  permissions: '0644'
  content: |
    [Unit]
    Description={stack} {service}: boot report
    After={unit}.service
    [Service]
    ExecStartPre=-/usr/bin/bash /opt/{unit}/report started
    ExecStart=/usr/bin/bash /opt/{unit}/report answers
    [Install]
    WantedBy=multi-user.target
"
        )
    }
}
