//! The list of policies, in pages.
//!
//! `guide` tells the entities and where to go on; `platform` counts as well. Of the query only `pageSize` and
//! `pageNumber` are simulated: anything else is refused, rather than ignored.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::header::HOST;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::api::Refusal;
use crate::faults::under_fault;
use crate::oauth::authorized;
use crate::retention::Retention;
use crate::surface::{Operation, Surface};
use crate::world::World;

/// How the list of policies is cut into pages.
#[derive(Debug, Clone)]
pub struct Pages {
    size: usize,
    most: usize,
    next: NextUri,
}

/// What a page says of the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextUri {
    /// Its path and query.
    Relative,
    /// Its whole address, on the host that was asked.
    Absolute,
    /// Its whole address, on this other host. It begins with the scheme and ends without a slash.
    Elsewhere(String),
    /// The address of this same page.
    Itself,
    /// Nothing, though there is one.
    Missing,
}

impl Default for Pages {
    fn default() -> Self {
        Self { size: 25, most: 100, next: NextUri::Relative }
    }
}

impl Pages {
    /// Of so many policies, also if a request asks for more. Unless said otherwise a page has 25, and up to 100 if
    /// the request asks for them.
    #[must_use]
    pub fn of(size: usize) -> Self {
        Self { size: size.max(1), most: size.max(1), ..Self::default() }
    }

    /// And with this in `nextUri`, which is otherwise relative.
    #[must_use]
    pub fn next_uri(self, next: NextUri) -> Self {
        Self { next, ..self }
    }
}

/// `GET …/mediaretentionpolicies`, `GET …/retention/policies`.
pub(crate) async fn list(
    State(world): State<Arc<World>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let Query { size, number } = Query::read(query.as_deref().unwrap_or_default())?;
    let token = authorized(&world, &headers, Operation::ListPolicies)?;
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let work = async {
        let now = world.now();
        let retention = &mut world.state().retention;
        let size = size.unwrap_or(retention.pages.size).min(retention.pages.most);
        let page = retention.page(world.surface, host, Cut { size, number });
        retention.count_list(now);
        Json(page).into_response()
    };
    Ok(under_fault(&world, Operation::ListPolicies, Some(&token), work).await)
}

struct Query {
    size: Option<usize>,
    number: usize,
}

impl Query {
    fn read(query: &str) -> Result<Self, Refusal> {
        let mut read = Self { size: None, number: 1 };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let Some(value) = value.parse().ok().filter(|value| *value > 0) else {
                let what = format!("{name} of a list of policies must be a number from 1, and not {value:?}");
                return Err(Refusal::breach(StatusCode::BAD_REQUEST, what));
            };
            match name {
                "pageSize" => read.size = Some(value),
                "pageNumber" => read.number = value,
                _ => {
                    let what = format!("{name} of a list of policies is not simulated");
                    return Err(Refusal::breach(StatusCode::BAD_REQUEST, what));
                }
            }
        }
        Ok(read)
    }
}

/// Which page it is.
#[derive(Clone, Copy)]
struct Cut {
    size: usize,
    number: usize,
}

impl Cut {
    fn uri(self, surface: Surface) -> String {
        let path = match surface {
            Surface::Guide => "/api/v2/datamanagement/retention/policies",
            Surface::Platform => "/api/v2/recording/mediaretentionpolicies",
        };
        format!("{path}?pageSize={}&pageNumber={}", self.size, self.number)
    }
}

impl Retention {
    fn page(&self, surface: Surface, host: &str, cut: Cut) -> Value {
        let Cut { size, number } = cut;
        let total = self.policies.len();
        let entities = self.policies.iter().skip((number - 1).saturating_mul(size)).take(size);
        let mut page = json!({ "entities": entities.map(|kept| &kept.stored).collect::<Vec<_>>() });
        if surface == Surface::Platform {
            let at = |number| Cut { size, number }.uri(surface);
            let page_count = total.div_ceil(size);
            page["pageSize"] = size.into();
            page["pageNumber"] = number.into();
            page["total"] = total.into();
            page["pageCount"] = page_count.into();
            page["selfUri"] = at(number).into();
            page["firstUri"] = at(1).into();
            page["lastUri"] = at(page_count.max(1)).into();
        }
        let next = Cut { size, number: number.saturating_add(1) }.uri(surface);
        let next = match &self.pages.next {
            NextUri::Relative => Some(next),
            NextUri::Absolute => Some(format!("http://{host}{next}")),
            NextUri::Elsewhere(host) => Some(format!("{host}{next}")),
            NextUri::Itself => Some(cut.uri(surface)),
            NextUri::Missing => None,
        };
        let has_more = number.saturating_mul(size) < total;
        if let Some(next) = next.filter(|_| has_more) {
            page["nextUri"] = next.into();
        }
        page
    }
}

#[cfg(test)]
mod tests;
