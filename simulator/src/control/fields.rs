//! Reads what a person sent, field by field.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

/// The members of a JSON object, taken one by one; what is left in the end is a mistake.
pub(super) struct Fields(pub(super) Map<String, Value>);

impl Fields {
    pub(super) fn read(body: &[u8]) -> Result<Self, BadInput> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(BadInput("the body must be a JSON object".to_owned())),
            Err(e) => Err(BadInput(format!("the body must be a JSON object: {e}"))),
        }
    }

    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, BadInput> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(BadInput::field(name, "must be a string")),
        }
    }

    pub(super) fn switch(&mut self, name: &str) -> Result<bool, BadInput> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(is_on)) => Ok(is_on),
            Some(_) => Err(BadInput::field(name, "must be true or false")),
        }
    }

    pub(super) fn header(&mut self, name: &str) -> Result<Option<String>, BadInput> {
        let text = self.text(name)?;
        if text.as_deref().is_some_and(|text| HeaderValue::from_str(text).is_err()) {
            return Err(BadInput::field(name, "must be fit for a header"));
        }
        Ok(text)
    }

    pub(super) fn number<T: TryFrom<u64>>(
        &mut self,
        name: &str,
        otherwise: u64,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<T, BadInput> {
        let given = self.0.remove(name).map_or(Some(otherwise), |value| value.as_u64());
        let number =
            given.filter(|number| range.contains(number)).and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| {
            BadInput::field(
                name,
                &format!("must be a whole number from {} to {}", range.start(), range.end()),
            )
        })
    }

    pub(super) fn end(self) -> Result<(), BadInput> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => Err(BadInput::field(name, "has no meaning here")),
        }
    }
}

/// What to tell the person at the panel.
pub(super) struct BadInput(pub(super) String);

impl BadInput {
    pub(super) fn field(name: &str, what: &str) -> Self {
        Self(format!("{name} {what}"))
    }
}

impl IntoResponse for BadInput {
    fn into_response(self) -> Response {
        (StatusCode::BAD_REQUEST, Json(json!({ "message": self.0 }))).into_response()
    }
}
