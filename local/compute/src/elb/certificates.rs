//! Certificates of HTTPS listeners: one that is the default, and others that are chosen by name (docs/aws.md §9.5).

use crate::Site;
use crate::state::{Listener, State};
use kit::query::{Answer, ApiError, Params, Xml};

/// The quota of certificates of a load balancer, not counting the default ones.
const MOST: usize = 25;

fn invalid(text: impl Into<String>) -> ApiError {
    ApiError::new("ValidationError", text)
}

/// Returns the default certificate in a call, if there is one.
///
/// Errors: there are several; it does not exist; it has not been issued.
pub fn default(site: &Site, params: &Params) -> Result<Option<String>, ApiError> {
    let items = params.items("Certificates");
    match items.as_slice() {
        [] => Ok(None),
        [one] if one.has("IsDefault") => {
            Err(invalid("IsDefault cannot be specified for the certificate of a listener"))
        }
        [one] => checked(site, one).map(Some),
        several => Err(too_many(several)),
    }
}

/// The error for several certificates in a call.
fn too_many(items: &[&Params]) -> ApiError {
    let text = format!("Up to '1' certificate ARNs can be specified, but '{}' were specified", items.len());
    ApiError::new("TooManyCertificates", text)
}

/// Returns the only certificate in a call, without `IsDefault`.
fn single(params: &Params) -> Result<&Params, ApiError> {
    match params.items("Certificates").as_slice() {
        [] => Err(invalid("A certificate must be specified")),
        [one] if one.has("IsDefault") => Err(invalid("IsDefault cannot be specified")),
        [one] => Ok(one),
        several => Err(too_many(several)),
    }
}

fn checked(site: &Site, item: &Params) -> Result<String, ApiError> {
    let arn = item.text("CertificateArn").ok_or_else(|| invalid("A certificate ARN must be specified"))?;
    let certificate = site.certificates.certificate(arn);
    match certificate {
        None => Err(ApiError::new("CertificateNotFound", format!("Certificate '{arn}' not found"))),
        Some(certificate) if certificate.issued.is_none() => {
            let text = format!(
                "The certificate '{arn}' must have a fully-qualified domain name, a supported signature, and a supported key size."
            );
            Err(ApiError::new("UnsupportedCertificate", text))
        }
        Some(_) => Ok(arn.to_owned()),
    }
}

fn secure<'a>(state: &'a State, params: &'a Params) -> Result<&'a Listener, ApiError> {
    let listener = state.listener(params.required("ListenerArn")?)?;
    match listener.is_secure() {
        true => Ok(listener),
        false => Err(invalid("Certificates can be specified for HTTPS listeners only")),
    }
}

pub fn add(state: &mut State, site: &Site, params: &Params) -> Answer {
    let listener = secure(state, params)?;
    let (arn, load_balancer) = (listener.arn.clone(), listener.load_balancer.clone());
    let added = checked(site, single(params)?)?;
    let others = |listener: &Listener| listener.certificates.len().saturating_sub(1);
    let there: usize = state.listeners_of(&load_balancer).map(others).sum();
    let listener = state.listeners.get_mut(&arn).expect("the lookup above found it");
    // The default certificate is in the list only if it is added to it.
    if !listener.certificates.iter().skip(1).any(|one| *one == added) {
        if there >= MOST {
            let text = format!("The maximum number of {MOST} certificates has been reached on the load balancer");
            return Err(ApiError::new("TooManyCertificates", text));
        }
        listener.certificates.push(added.clone());
    }
    Ok(shown([(&added, false)]))
}

pub fn remove(state: &mut State, _site: &Site, params: &Params) -> Answer {
    let listener = secure(state, params)?;
    let arn = listener.arn.clone();
    let removed =
        single(params)?.text("CertificateArn").ok_or_else(|| invalid("A certificate ARN must be specified"))?;
    let is_listed = listener.certificates.iter().skip(1).any(|one| one == removed);
    if let Some(default) = listener.certificates.first().filter(|default| *default == removed && !is_listed) {
        let text = format!("Default certificate '{default}' cannot be removed from the listener");
        return Err(ApiError::new("OperationNotPermitted", text));
    }
    let listener = state.listeners.get_mut(&arn).expect("the lookup above found it");
    let default = listener.certificates.first().cloned();
    let others = listener.certificates.drain(..).skip(1).filter(|one| one != removed);
    let kept = default.into_iter().chain(others).collect();
    listener.certificates = kept;
    Ok(Xml::new())
}

pub fn describe(state: &State, _site: &Site, params: &Params) -> Answer {
    let listener = state.listener(params.required("ListenerArn")?)?;
    Ok(shown(listener.certificates.iter().enumerate().map(|(at, one)| (one, at == 0))))
}

fn shown<'a>(certificates: impl IntoIterator<Item = (&'a String, bool)>) -> Xml {
    let mut xml = Xml::new();
    xml.members("Certificates", certificates, |xml, (arn, is_default)| {
        xml.text("CertificateArn", arn).text("IsDefault", is_default);
    });
    xml
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::site;
    use kit::speed::Speed;

    const LISTENER: &str = "arn:listener";

    #[test]
    fn a_call_has_one_certificate_and_the_default_one_can_be_in_the_list() {
        let site = site(Speed::REAL, Default::default());
        let listener = Listener {
            arn: LISTENER.to_owned(),
            load_balancer: "arn:balancer".to_owned(),
            port: 443,
            protocol: "HTTPS".to_owned(),
            actions: Vec::new(),
            local_port: 0,
            certificates: vec!["arn:0".to_owned()],
            ssl_policy: None,
        };
        let mut state = State::default();
        state.listeners.insert(LISTENER.to_owned(), listener);
        type Call = fn(&mut State, &Site, &Params) -> Answer;
        for (call, given, expected, certificates) in [
            (add as Call, &["arn:1", "arn:2"][..], Err("TooManyCertificates"), &["arn:0"][..]),
            (add, &[], Err("ValidationError"), &["arn:0"]),
            (add, &["none"], Err("CertificateNotFound"), &["arn:0"]),
            (add, &["arn:1"], Ok(()), &["arn:0", "arn:1"]),
            (add, &["arn:1"], Ok(()), &["arn:0", "arn:1"]),
            (remove, &["arn:0"], Err("OperationNotPermitted"), &["arn:0", "arn:1"]),
            (add, &["arn:0"], Ok(()), &["arn:0", "arn:1", "arn:0"]),
            (add, &["arn:0"], Ok(()), &["arn:0", "arn:1", "arn:0"]),
            (remove, &["arn:0", "arn:1"], Err("TooManyCertificates"), &["arn:0", "arn:1", "arn:0"]),
            (remove, &["arn:0"], Ok(()), &["arn:0", "arn:1"]),
            (remove, &["arn:1"], Ok(()), &["arn:0"]),
            (remove, &["arn:1"], Ok(()), &["arn:0"]),
        ] {
            let items = given.iter().enumerate();
            let items = items.map(|(at, arn)| (format!("Certificates.member.{at}.CertificateArn"), (*arn).to_owned()));
            let form = items.chain([("ListenerArn".to_owned(), LISTENER.to_owned())]).collect();
            let done = call(&mut state, &site, &Params::parse(&form)).map(drop).map_err(|fault| fault.code);
            assert_eq!(done, expected, "{form:?}");
            assert_eq!(state.listeners[LISTENER].certificates, certificates, "{form:?}");
        }
        for at in 1..=MOST {
            let form = [("ListenerArn", LISTENER), ("Certificates.member.1.CertificateArn", &*format!("arn:{at}"))];
            let form = form.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
            add(&mut state, &site, &Params::parse(&form)).unwrap();
        }
        let form = [("ListenerArn", LISTENER), ("Certificates.member.1.CertificateArn", "arn:more")];
        let form = form.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(add(&mut state, &site, &Params::parse(&form)).unwrap_err().code, "TooManyCertificates");
    }
}
