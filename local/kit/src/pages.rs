//! Cuts lists into pages for the operations whose row has a [`Pagination`].

use std::ops::Range;

use bytes::Bytes;
use quick_xml::Reader;
use quick_xml::events::Event;

use crate::answer::{Refusal, Response};
use crate::call::{Call, Form, Input, Pagination, Request, Style};

/// Returns the requested page of a list. `short` limits each page to one item.
pub fn cut(call: &Call, answer: Response, short: bool) -> Response {
    match call.row.and_then(|row| row.page) {
        Some(Pagination::Cut(style, items)) if answer.status().is_success() => {
            let cut = style.cut(items, call.input.form(), answer, short);
            cut.unwrap_or_else(|refusal| refusal.answer(call.protocol))
        }
        _ => answer,
    }
}

/// Removes the items of a list for which `keep` is false.
pub fn retain(answer: &mut Response, list: &str, keep: impl Fn(&str) -> bool) {
    let text = String::from_utf8_lossy(answer.body());
    let Some(found) = within(&text, list) else { return };
    let items = found.items.iter().map(|item| &text[item.clone()]).filter(|item| keep(item));
    let kept = [&text[..found.inside.start], &items.collect::<String>(), &text[found.inside.end..]].concat();
    *answer.body_mut() = Bytes::from(kept);
}

impl Style {
    fn cut(&self, items: &str, form: &Form, mut answer: Response, short: bool) -> Result<Response, Refusal> {
        let asked = match form.get(self.size).filter(|size| !size.is_empty()) {
            None => self.usual,
            Some(size) => {
                let number: usize = size.parse().map_err(|_| self.bad_size(size))?;
                Some(number)
                    .filter(|number| (self.least..=self.most).contains(number))
                    .ok_or_else(|| self.out_of_range(size))?
            }
        };
        let size = if short { 1 } else { asked };
        let start = match form.get(self.from).filter(|token| !token.is_empty()) {
            None => 0,
            Some(token) => token.parse().map_err(|_| self.bad_token(token))?,
        };
        let text = String::from_utf8_lossy(answer.body());
        let Some(found) = within(&text, items) else {
            return Ok(answer);
        };
        if start == 0 && found.items.len() <= size {
            return Ok(answer);
        }
        let shown = found.items.get(start..).unwrap_or_default();
        let next = (shown.len() > size).then(|| start + size);
        let shown = &shown[..shown.len().min(size)];
        let mut cut = text[..found.inside.start].to_owned();
        shown.iter().for_each(|item| cut += &text[item.clone()]);
        let (inside, outside) = text[found.inside.end..].split_at(found.end - found.inside.end);
        cut += inside;
        if let Some(next) = next {
            cut += &format!("<{0}>{next}</{0}>", self.next);
        }
        match next {
            Some(_) => cut += &outside.replacen("<IsTruncated>false<", "<IsTruncated>true<", 1),
            None => cut += outside,
        }
        *answer.body_mut() = Bytes::from(cut);
        Ok(answer)
    }

    /// EC2 has a code of its own for values of the wrong type; elsewhere such a call is malformed (docs/aws.md §2.1).
    fn bad_size(&self, size: &str) -> Refusal {
        let code = if self.size == "MaxResults" { "InvalidParameterValue" } else { "MalformedInput" };
        Refusal::new(400, code, format!("Value ({size}) for parameter {} is invalid.", self.size))
    }

    fn out_of_range(&self, size: &str) -> Refusal {
        let code = if self.size == "MaxResults" { "InvalidParameterValue" } else { "ValidationError" };
        let range = format!("Expecting a value between {} and {}.", self.least, self.most);
        Refusal::new(400, code, format!("Value ({size}) for parameter {} is invalid. {range}", self.size))
    }

    fn bad_token(&self, token: &str) -> Refusal {
        Refusal::new(400, self.bad_token, format!("Value ({token}) for parameter {} is invalid.", self.from))
    }
}

/// The position of a list and its items in a document.
struct Found {
    inside: Range<usize>,
    items: Vec<Range<usize>>,
    /// The end of the list's closing tag.
    end: usize,
}

/// Finds the first element named `list`, and its children.
fn within(text: &str, list: &str) -> Option<Found> {
    let mut reader = Reader::from_str(text);
    let at = |reader: &Reader<&[u8]>| usize::try_from(reader.buffer_position()).ok();
    let mut start = None;
    let mut items = Vec::new();
    let (mut depth, mut item) = (0_usize, 0);
    loop {
        let before = at(&reader)?;
        match reader.read_event().ok()? {
            Event::Start(tag) if start.is_none() && tag.name().as_ref() == list.as_bytes() => {
                start = Some(at(&reader)?);
            }
            Event::Start(_) if start.is_some() => {
                if depth == 0 {
                    item = before;
                }
                depth += 1;
            }
            Event::Empty(_) if start.is_some() && depth == 0 => items.push(before..at(&reader)?),
            Event::End(_) if depth > 0 => {
                depth -= 1;
                if depth == 0 {
                    items.push(item..at(&reader)?);
                }
            }
            Event::End(_) if start.is_some() => {
                return Some(Found { inside: start?..before, items, end: at(&reader)? });
            }
            Event::Eof => return None,
            _ => (),
        }
    }
}

/// Rewrites a call to request pages of one item; `None` if its handler does not paginate.
pub fn shorten(call: &Call, request: &Request) -> Option<(Call, Request)> {
    let Pagination::Own(size) = call.row?.page? else { return None };
    let input = call.input.with(size, 1);
    let mut request = request.clone();
    if let Input::Rest(_) = input {
        // The first of duplicate parameters wins.
        request.query = format!("{size}=1&{}", request.query);
    }
    Some((Call { input, ..call.clone() }, request))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::{Protocol, xml};
    use crate::call::{Effect, Needs, Row};

    const ROLES: &str = "<ListRolesResponse><ListRolesResult><Roles><member><RoleName>a</RoleName></member><member><Tags><member/></Tags></member><member/></Roles><IsTruncated>false</IsTruncated></ListRolesResult></ListRolesResponse>";

    static STYLE: Style = Style {
        size: "MaxItems",
        from: "Marker",
        next: "Marker",
        usual: 100,
        least: 1,
        most: 1000,
        bad_token: "ValidationError",
    };
    static ROW: Row = Row {
        name: "ListRoles",
        effect: Effect::Reads,
        needs: Needs::Own,
        page: Some(Pagination::Cut(&STYLE, "Roles")),
    };

    fn call(row: &'static Row, form: &str) -> Call {
        let form = url::form_urlencoded::parse(form.as_bytes()).into_owned().collect();
        Call { row: Some(row), ..Call::of("iam", row.name, Protocol::Query, Input::Form(form)) }
    }

    fn page(form: &str, short: bool) -> (u16, String) {
        let answer = cut(&call(&ROW, form), xml(200, ROLES.to_owned()), short);
        let text = String::from_utf8_lossy(answer.body()).into_owned();
        let (_, document) = text.split_once('\n').unwrap_or(("", &text));
        (answer.status().as_u16(), document.replace("ListRoles", ""))
    }

    #[test]
    fn a_short_list_stays_as_it_is() {
        assert_eq!(page("", false).1, ROLES.replace("ListRoles", ""));
        assert_eq!(page("MaxItems=3", false).1, ROLES.replace("ListRoles", ""));
    }

    #[test]
    fn pages_follow_each_other_to_the_end() {
        assert_eq!(
            page("MaxItems=2", false).1,
            "<Response><Result><Roles><member><RoleName>a</RoleName></member><member><Tags><member/></Tags></member></Roles><Marker>2</Marker><IsTruncated>true</IsTruncated></Result></Response>"
        );
        assert_eq!(
            page("MaxItems=2&Marker=2", false).1,
            "<Response><Result><Roles><member/></Roles><IsTruncated>false</IsTruncated></Result></Response>"
        );
        assert_eq!(
            page("MaxItems=2&Marker=1", true).1,
            "<Response><Result><Roles><member><Tags><member/></Tags></member></Roles><Marker>2</Marker><IsTruncated>true</IsTruncated></Result></Response>"
        );
        assert!(page("Marker=18446744073709551615", false).1.contains("<Roles></Roles>"));
    }

    #[test]
    fn a_page_has_the_usual_size_of_its_service() {
        let whole = xml(200, format!("<R><Roles>{}</Roles></R>", "<member/>".repeat(120)));
        let text = String::from_utf8_lossy(cut(&call(&ROW, ""), whole, false).body()).into_owned();
        assert_eq!(text.matches("<member/>").count(), 100);
    }

    #[test]
    fn only_handlers_that_paginate_receive_the_page_size() {
        static OWN: Row = Row { page: Some(Pagination::Own("MaxRecords")), ..ROW_OF_NOTHING };
        const ROW_OF_NOTHING: Row = Row { name: "", effect: Effect::Reads, needs: Needs::Own, page: None };
        static NONE: Row = ROW_OF_NOTHING;
        let request = Request { query: "max-keys=7".into(), ..Request::default() };
        let (short, same) = shorten(&call(&OWN, "MaxRecords=7"), &request).unwrap();
        assert_eq!((short.input.text("MaxRecords"), same.query.as_str()), (Some("1"), "max-keys=7"));
        assert!(shorten(&call(&ROW, ""), &request).is_none() && shorten(&call(&NONE, ""), &request).is_none());
        static KEYS: Row = Row { page: Some(Pagination::Own("max-keys")), ..ROW_OF_NOTHING };
        let rest = Input::of(Protocol::RestXml, &request);
        let keys = Call { row: Some(&KEYS), ..Call::of("s3", "ListObjects", Protocol::RestXml, rest) };
        let (short, sent) = shorten(&keys, &request).unwrap();
        assert_eq!((short.input.text("max-keys"), sent.parameter("max-keys").as_deref()), (Some("1"), Some("1")));
    }

    #[test]
    fn a_size_outside_the_limits_is_refused() {
        for (size, code) in [("0", "ValidationError"), ("1001", "ValidationError"), ("-1", "MalformedInput")] {
            let (status, text) = page(&format!("MaxItems={size}"), false);
            assert!(status == 400 && text.contains(code), "{size}: {text}");
        }
        assert_eq!([page("MaxItems=1", false).0, page("MaxItems=1000", false).0], [200, 200]);
    }

    #[test]
    fn a_token_that_is_none_is_refused() {
        let (status, text) = page("Marker=x", false);
        assert_eq!(status, 400);
        assert!(text.contains("ValidationError") && text.contains("(x)"), "{text}");
    }
}
