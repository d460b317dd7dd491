//! How users log in, for the page.

use poem_openapi::Object;
use serde::Serialize;

use crate::config::Auth;

/// How users log in
#[derive(Debug, Clone, Object, Serialize)]
pub(crate) struct Config {
    /// `header`: with an unverified name; `jwt`: with a token.
    auth: String,
    /// The claim with the user's name.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    claim: Option<String>,
    /// Where users get a token.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    login: Option<String>,
}

impl Config {
    pub(crate) fn of(auth: &Auth) -> Self {
        match auth {
            Auth::Header => Self { auth: "header".to_owned(), claim: None, login: None },
            Auth::Jwt(jwt) => Self {
                auth: "jwt".to_owned(),
                claim: Some(jwt.claim.clone()),
                login: jwt.login.as_ref().map(ToString::to_string),
            },
        }
    }

    /// Whether callers are authenticated with tokens.
    pub(crate) fn wants_tokens(&self) -> bool {
        self.claim.is_some()
    }
}
