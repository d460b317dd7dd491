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
        _ => Err(invalid("Exactly one certificate must be specified as the default certificate of a listener")),
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
    let items = params.items("Certificates");
    if items.is_empty() || items.iter().any(|item| item.has("IsDefault")) {
        return Err(invalid("At least one certificate must be specified, without IsDefault"));
    }
    let added: Vec<String> = items.into_iter().map(|item| checked(site, item)).collect::<Result<_, ApiError>>()?;
    let others = |listener: &Listener| listener.certificates.len().saturating_sub(1);
    let there: usize = state.listeners_of(&load_balancer).map(others).sum();
    let listener = state.listeners.get_mut(&arn).expect("the lookup above found it");
    let new: Vec<String> = added.iter().filter(|one| !listener.certificates.contains(one)).cloned().collect();
    if there + new.len() > MOST {
        let text = format!("The maximum number of {MOST} certificates has been reached on the load balancer");
        return Err(ApiError::new("TooManyCertificates", text));
    }
    listener.certificates.extend(new);
    Ok(shown(added.iter().map(|one| (one, false))))
}

pub fn remove(state: &mut State, _site: &Site, params: &Params) -> Answer {
    let listener = secure(state, params)?;
    let arn = listener.arn.clone();
    let removed: Vec<String> =
        params.items("Certificates").iter().map(|item| item.at("CertificateArn").value().to_owned()).collect();
    if removed.is_empty() {
        return Err(invalid("At least one certificate must be specified"));
    }
    if let Some(default) = listener.certificates.first().filter(|default| removed.contains(default)) {
        let text = format!("Default certificate '{default}' cannot be removed from the listener");
        return Err(ApiError::new("OperationNotPermitted", text));
    }
    let listener = state.listeners.get_mut(&arn).expect("the lookup above found it");
    listener.certificates.retain(|one| !removed.contains(one));
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
