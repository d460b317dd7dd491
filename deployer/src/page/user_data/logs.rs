//! The unit that sends the lines of the service to its log group.

use super::{PAUSE_S, UserData};

/// The pause after AWS has refused all batches.
const PAUSE_AFTER_FAILURE_S: u32 = 60;
/// The most lines in a batch.
const BATCH: u32 = 4000;
/// The same, after a larger batch has failed: `PutLogEvents` takes 1 MB, and so twenty of the longest lines that
/// journald keeps whole; one line is never too much, nor too far from others in time.
const SMALLER_BATCHES: &str = "1000 200 20 1";
/// Turns entries of the journal into events. Their order may be another after the clock was set. A message with
/// characters that cannot be printed is a list of bytes: `plain` removes the control sequences of terminals, such as
/// colours, and marks the end with -1; `text` decodes UTF-8, with U+FFFD for what is invalid. No filter of jq 1.6 or
/// 1.7 decodes bytes. `PutLogEvents` takes no empty message.
const EVENTS: &str = r#"def plain:[foreach (.[],-1) as $b ([0];if .[0]==2 and $b>31 and $b<127 then [if $b<64 then 2 else 0 end] elif .[0]==1 and $b==91 then [2] else (if .[0]==1 then [27] else [] end) as $kept|if $b==27 then [1]+$kept else [0]+$kept+[$b] end end;.[1:][])];def text:[foreach .[] as $b ({n:0};if .n>0 and $b>127 and $b<192 then {n:(.n-1),least,c:(.c*64+$b-128)}|.o=if .n>0 then [] elif .c<.least or .c>1114111 or (.c>55295 and .c<57344) then [65533] else [.c] end else (if .n>0 then [65533] else [] end) as $o|if $b<0 then {n:0,$o} elif $b<128 then {n:0,o:($o+[$b])} elif $b<192 or $b>247 then {n:0,o:($o+[65533])} elif $b<224 then {n:1,least:128,c:($b-192),$o} elif $b<240 then {n:2,least:2048,c:($b-224),$o} else {n:3,least:65536,c:($b-240),$o} end end;.o[])]|implode;map({timestamp:(.__REALTIME_TIMESTAMP|tonumber/1000|floor),message:(.MESSAGE|if type=="string" then . else (try (plain|text) catch .) end|if .=="" then " " else . end)})|sort_by(.timestamp)|select(length>0)"#;

impl UserData {
    /// A second unit, which sends the lines of the service to its log group. It starts before the service and ends after
    /// it, so that no line is left behind. The cursor is moved once AWS has taken the lines: after a failure they are
    /// sent again, in smaller batches, and to a new stream if there is none. Where more lines are waiting there is no
    /// pause (docs/aws.md §8.6).
    pub(super) fn log_files(&self) -> String {
        let UserData { stack, service, region, log_group, .. } = self;
        let unit = self.unit();
        format!(
            "\
- path: /opt/{unit}/cursor
  permissions: '0644'
- path: /opt/{unit}/logs
  permissions: '0644'
  content: |
    at=/opt/{unit}
    to=\"--region {region} --log-group-name {log_group} --log-stream-name $(cat /var/lib/cloud/data/instance-id)\"
    put=\"aws logs put-log-events $to --log-events file://$at/batch\"
    while true; do
      pause={PAUSE_AFTER_FAILURE_S}
      for lines in {BATCH} {SMALLER_BATCHES}; do
        cp $at/cursor $at/next && journalctl --unit={unit} --since=2000-01-01 --lines=$lines --cursor-file=$at/next --output=json --output-fields=MESSAGE --all --no-pager --quiet > $at/entries && cat $at/entries | jq -cs '{EVENTS}' > $at/batch && {{
          [ -s $at/batch ] || pause={PAUSE_S}
          [ $pause = {PAUSE_S} ] && break
          $put > /dev/null || {{ aws logs create-log-stream $to && $put > /dev/null; }} && mv $at/next $at/cursor && {{
            pause={PAUSE_S}
            [ $lines = {BATCH} ] || pause=0
            [ \"$(cat $at/entries | jq -s length)\" = $lines ] && pause=0
            break
          }}
        }}
      done
      [ $pause = 0 ] || {{
        [ \"$1\" = last ] && break
        sleep $pause
      }}
    done
- path: /etc/systemd/system/{unit}-logs.service
  permissions: '0644'
  content: |
    [Unit]
    Description={stack} {service}: logs
    Wants=network-online.target
    After=network-online.target
    Before={unit}.service
    [Service]
    ExecStart=/usr/bin/bash /opt/{unit}/logs
    ExecStopPost=-/usr/bin/bash /opt/{unit}/logs last
    Nice=19
    Restart=always
    RestartSec={PAUSE_AFTER_FAILURE_S}
    [Install]
    WantedBy=multi-user.target
"
        )
    }
}
