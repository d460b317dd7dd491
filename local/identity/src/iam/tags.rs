//! Tags of roles and instance profiles. Tag keys are case-insensitive.

use super::state::Tags;
use super::tag_list;
use kit::query::{Params, Xml};

pub(super) fn add(tags: &mut Tags, params: &Params) {
    for (key, value) in params.tags("Tags") {
        tags.retain(|known, _| !known.eq_ignore_ascii_case(&key));
        tags.insert(key, value);
    }
}

pub(super) fn remove(tags: &mut Tags, params: &Params) {
    let keys = params.texts("TagKeys");
    tags.retain(|known, _| !keys.iter().any(|key| key.eq_ignore_ascii_case(known)));
}

pub(super) fn list(tags: &Tags) -> Xml {
    let mut xml = Xml::new();
    xml.text("IsTruncated", false);
    match tags.is_empty() {
        true => {
            xml.within("Tags", |_| ());
        }
        false => tag_list(&mut xml, tags),
    }
    xml
}
