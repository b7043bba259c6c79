//! As much of `JSONata` as the state machine is written in: texts, numbers, paths, `&`, `<`, objects, lists, `$merge`,
//! `$string`, and Step Functions' own `$parse`. What goes beyond that fails the test that meets it.

use serde_json::{Map, Value, json};

/// A value of the definition with its expressions, `{% … %}`, evaluated.
pub(super) fn filled_in(value: &Value, states: &Value) -> Value {
    match value {
        Value::String(text) => match text.strip_prefix("{%").and_then(|text| text.strip_suffix("%}")) {
            Some(expression) => evaluate(expression, states),
            None => value.clone(),
        },
        Value::Array(elements) => elements.iter().map(|element| filled_in(element, states)).collect(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), filled_in(value, states))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn evaluate(expression: &str, states: &Value) -> Value {
    let mut reader = Reader { rest: expression.trim(), states };
    let value = reader.expression();
    assert!(reader.rest.is_empty(), "{:?} of {expression:?} means nothing here", reader.rest);
    value
}

struct Reader<'a> {
    rest: &'a str,
    states: &'a Value,
}

impl<'a> Reader<'a> {
    /// Two concatenations compared, or one.
    fn expression(&mut self) -> Value {
        let left = self.concatenation();
        if !self.takes("<") {
            return left;
        }
        let right = self.concatenation();
        json!(left.as_f64().expect("a number") < right.as_f64().expect("a number"))
    }

    fn concatenation(&mut self) -> Value {
        let mut value = self.term();
        while self.takes("&") {
            let (left, right) = (as_text(&value), as_text(&self.term()));
            value = json!(left + &right);
        }
        value
    }

    fn term(&mut self) -> Value {
        if self.takes("'") {
            return json!(self.until_quote());
        }
        if self.takes("$merge(") {
            let objects = self.expression();
            assert!(self.takes(")"), "{:?}", self.rest);
            let objects = objects.as_array().expect("a list of objects").iter();
            return objects
                .flat_map(|it| it.as_object().expect("an object").clone())
                .collect::<Map<_, _>>()
                .into();
        }
        if self.takes("$string(") {
            let value = self.expression();
            assert!(self.takes(")"), "{:?}", self.rest);
            return json!(as_text(&value));
        }
        if self.takes("$parse(") {
            let text = self.expression();
            assert!(self.takes(")."), "{:?}", self.rest);
            let value = serde_json::from_str(text.as_str().expect("a text")).expect("JSON");
            return self.path(&value);
        }
        if self.takes("$states.") {
            return self.path(self.states);
        }
        if self.takes("[") {
            return self.list("]", Self::expression).into();
        }
        if self.takes("{") {
            let member = |reader: &mut Self| {
                assert!(reader.takes("'"), "{:?}", reader.rest);
                let name = reader.until_quote().to_owned();
                assert!(reader.takes(":"), "{:?}", reader.rest);
                (name, reader.expression())
            };
            return self.list("}", member).into_iter().collect::<Map<_, _>>().into();
        }
        self.number()
    }

    fn list<T>(&mut self, end: &str, element: impl Fn(&mut Self) -> T) -> Vec<T> {
        let mut list = Vec::new();
        loop {
            list.push(element(self));
            if !self.takes(",") {
                assert!(self.takes(end), "{:?}", self.rest);
                return list;
            }
        }
    }

    /// AWS fails an execution whose expression comes to nothing, and so is a path here that leads nowhere.
    fn path(&mut self, from: &Value) -> Value {
        let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '.' || letter == '_';
        let path = self.split_at(|letter| !is_part(letter));
        let pointer = format!("/{}", path.replace('.', "/"));
        from.pointer(&pointer).unwrap_or_else(|| panic!("{path} is nothing: {from}")).clone()
    }

    fn number(&mut self) -> Value {
        let digits = self.split_at(|letter| !letter.is_ascii_digit());
        json!(digits.parse::<i64>().unwrap_or_else(|_| panic!("{:?} means nothing here", self.rest)))
    }

    fn until_quote(&mut self) -> &'a str {
        let text = self.split_at(|letter| letter == '\'');
        assert!(self.takes("'"), "a text has no end");
        text
    }

    fn split_at(&mut self, is_end: impl Fn(char) -> bool) -> &'a str {
        let (taken, rest) = self.rest.split_at(self.rest.find(is_end).unwrap_or(self.rest.len()));
        self.rest = rest;
        taken
    }

    fn takes(&mut self, token: &str) -> bool {
        let Some(rest) = self.rest.trim_start().strip_prefix(token) else { return false };
        // White space counts within a text, and nowhere else.
        self.rest = if token == "'" { rest } else { rest.trim_start() };
        true
    }
}

fn as_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[test]
fn expressions_are_what_jsonata_makes_of_them() {
    let cause = r#"{"m":"it"}"#;
    let states = json!({"cause": cause, "input": {"a": 1, "t": "x y"}, "context": {"State": {"Name": "S"}}});
    for (expression, value) in [
        ("$states.input.a < 300", json!(true)),
        ("$states.context.State.Name & '/ ' & $states.input.t & $states.input.a", json!("S/ x y1")),
        ("$parse($states.cause).m", json!("it")),
        ("$merge([$states.input, {'a': 'it', 'b': $string(2)}])", json!({"a": "it", "t": "x y", "b": "2"})),
    ] {
        assert_eq!(evaluate(expression, &states), value, "{expression}");
    }
}
