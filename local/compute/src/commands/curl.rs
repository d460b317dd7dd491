//! The command `curl`.

use std::time::Duration;

use super::{Done, NoAnswer, Tools};

/// The statuses after which curl tries again (man curl, `--retry`).
const TRANSIENT: &[u16] = &[408, 429, 500, 502, 503, 504];

/// The maximum pause between two attempts in seconds that curl chooses by itself: it doubles the first, of a second.
const LONGEST_PAUSE_S: u64 = 600;

/// The options of `curl` that are implemented.
#[derive(Default)]
struct CurlOptions {
    port: Option<u16>,
    is_silent: bool,
    is_discarded: bool,
    is_written: bool,
    max_time: Option<Duration>,
    retries: u32,
    delay_s: u64,
    retries_refused: bool,
}

impl CurlOptions {
    /// Parses arguments; `None` if any is not supported.
    pub(super) fn parse(arguments: &[&str]) -> Option<CurlOptions> {
        let mut options = CurlOptions::default();
        let mut rest = arguments.iter().copied();
        while let Some(word) = rest.next() {
            match word {
                "--silent" => options.is_silent = true,
                "--retry-connrefused" => options.retries_refused = true,
                "--output" => options.is_discarded = Some(rest.next()? == "/dev/null").filter(|is_null| *is_null)?,
                "--write-out" => {
                    options.is_written = Some(rest.next()? == "%{http_code}").filter(|is_code| *is_code)?
                }
                // Zero means no limit.
                "--max-time" => {
                    options.max_time = Some(number(rest.next()?)?).filter(|s| *s > 0).map(Duration::from_secs)
                }
                "--retry" => options.retries = number(rest.next()?)?.try_into().ok()?,
                "--retry-delay" => options.delay_s = number(rest.next()?)?,
                option if option.starts_with('-') => return None,
                url if options.port.is_none() => {
                    options.port = Some(url.strip_prefix("http://127.0.0.1:")?.strip_suffix('/')?.parse().ok()?);
                }
                _ => return None,
            }
        }
        (options.is_silent && options.is_discarded && options.is_written).then_some(options)
    }
}

/// Parses a number without a sign.
fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// `curl http://127.0.0.1:PORT/`: prints the status of the response; without one, prints 000.
pub(super) async fn curl(tools: &dyn Tools, arguments: &[&str]) -> Done {
    let Some((options, port)) =
        CurlOptions::parse(arguments).and_then(|options| options.port.map(|port| (options, port)))
    else {
        let errors = format!("curl {}: this does not exist on a local instance\n", arguments.join(" "));
        return Done { status: 2, output: Vec::new(), errors };
    };
    let mut pause_s = 1;
    for attempt in 0_u32.. {
        let answer = tools.answer(port, options.max_time).await;
        let is_transient = match answer {
            Ok(status) => TRANSIENT.contains(&status),
            Err(NoAnswer::TooSlow) => true,
            Err(NoAnswer::Refused) => options.retries_refused,
            Err(NoAnswer::Empty | NoAnswer::Garbled) => false,
        };
        if is_transient && attempt < options.retries {
            tools.back_off(if options.delay_s > 0 { options.delay_s } else { pause_s }).await;
            pause_s = (pause_s * 2).min(LONGEST_PAUSE_S);
            continue;
        }
        let status = match answer {
            Ok(_) => 0,
            Err(NoAnswer::Garbled) => 1,
            Err(NoAnswer::Refused) => 7,
            Err(NoAnswer::TooSlow) => 28,
            Err(NoAnswer::Empty) => 52,
        };
        let output = format!("{:03}", answer.unwrap_or_default()).into();
        return Done { status, output, errors: String::new() };
    }
    unreachable!("the loop above only ends by returning")
}
