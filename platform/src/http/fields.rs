//! Reads the fields of a JSON object and collects everything that is wrong with them, so that a
//! client corrects a form once instead of once per field.

use std::fmt::Display;

use serde_json::{Map, Value};

use super::value::{Fault, FieldValue};
use super::{FieldProblem, HttpCode, Problem};

/// A field of a JSON Merge Patch (RFC 7396).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Patch<T> {
    /// Not in the body: stays as it is.
    #[default]
    Absent,
    /// `null`: is taken away.
    Null,
    /// Gets this value.
    Value(T),
}

/// The fields of an object that nobody has asked for yet, and what was wrong with the others.
#[derive(Debug)]
pub struct Fields {
    left: Map<String, Value>,
    problems: Vec<FieldProblem>,
    wrong_type: bool,
}

impl Fields {
    /// Reads a field that must be there.
    pub fn required<T: FieldValue>(&mut self, name: &str) -> Option<T> {
        self.required_as(name, Ok::<T, String>)
    }

    /// Reads a field that must be there and turns it into a value that cannot be wrong.
    pub fn required_as<V: FieldValue, T, E: Display>(
        &mut self,
        name: &str,
        parse: impl FnOnce(V) -> Result<T, E>,
    ) -> Option<T> {
        match self.patch_as(name, parse) {
            Patch::Value(value) => Some(value),
            Patch::Null => {
                self.wrong_type::<V>(name);
                None
            }
            Patch::Absent if self.is_refused(name) => None,
            Patch::Absent => {
                self.reject(name, "is required");
                None
            }
        }
    }

    /// Reads a field that may be missing or null.
    pub fn optional<T: FieldValue>(&mut self, name: &str) -> Option<T> {
        self.optional_as(name, Ok::<T, String>)
    }

    /// Reads a field that may be missing or null and turns it into a value that cannot be wrong.
    pub fn optional_as<V: FieldValue, T, E: Display>(
        &mut self,
        name: &str,
        parse: impl FnOnce(V) -> Result<T, E>,
    ) -> Option<T> {
        match self.patch_as(name, parse) {
            Patch::Value(value) => Some(value),
            Patch::Null | Patch::Absent => None,
        }
    }

    /// Reads a field of a merge patch.
    pub fn patch<T: FieldValue>(&mut self, name: &str) -> Patch<T> {
        self.patch_as(name, Ok::<T, String>)
    }

    /// Reads a field of a merge patch and turns it into a value that cannot be wrong.
    pub fn patch_as<V: FieldValue, T, E: Display>(
        &mut self,
        name: &str,
        parse: impl FnOnce(V) -> Result<T, E>,
    ) -> Patch<T> {
        let value = match self.left.remove(name) {
            None => return Patch::Absent,
            Some(Value::Null) => return Patch::Null,
            Some(value) => value,
        };
        match V::from_json(value) {
            Ok(value) => match parse(value) {
                Ok(value) => return Patch::Value(value),
                Err(error) => self.reject(name, error),
            },
            Err(Fault::Rule(rule)) => self.reject(name, rule),
            Err(Fault::WrongType) => self.wrong_type::<V>(name),
        }
        Patch::Absent
    }

    /// Reads a field of a merge patch that cannot be taken away: null is refused.
    pub fn patch_not_null_as<V: FieldValue, T, E: Display>(
        &mut self,
        name: &str,
        parse: impl FnOnce(V) -> Result<T, E>,
    ) -> Option<T> {
        match self.patch_as(name, parse) {
            Patch::Value(value) => Some(value),
            Patch::Null => {
                self.reject(name, "cannot be null; leave it out to keep it");
                None
            }
            Patch::Absent => None,
        }
    }

    /// Notes a rule that a field breaks, also a rule over several fields.
    pub fn reject(&mut self, name: &str, detail: impl Display) {
        let pointer = pointer_to(name);
        self.problems.push(FieldProblem {
            pointer,
            detail: detail.to_string(),
        });
    }

    /// Reads a whole object as `T`.
    ///
    /// # Errors
    /// 400 when it is no object or a field is of the wrong type, 422 when a rule is broken, with
    /// every field that is wrong and every field that is unknown.
    pub(super) fn read<T>(
        value: Value,
        take: impl FnOnce(&mut Fields) -> Option<T>,
    ) -> Result<T, Problem> {
        let Value::Object(left) = value else {
            return Err(Problem::new(HttpCode::WrongType).field("", "must be an object"));
        };
        let mut fields = Fields {
            left,
            problems: Vec::new(),
            wrong_type: false,
        };
        let taken = take(&mut fields);
        fields.finish(taken)
    }

    fn finish<T>(mut self, taken: Option<T>) -> Result<T, Problem> {
        for name in std::mem::take(&mut self.left).keys() {
            self.reject(name, "is not a field of this request");
        }
        match taken {
            Some(value) if self.problems.is_empty() => Ok(value),
            _ => {
                let code = if self.wrong_type {
                    HttpCode::WrongType
                } else {
                    HttpCode::InvalidFields
                };
                Err(Problem::new(code).fields(self.problems))
            }
        }
    }

    fn wrong_type<V: FieldValue>(&mut self, name: &str) {
        self.wrong_type = true;
        self.reject(name, format_args!("must be {}", V::EXPECTED));
    }

    fn is_refused(&self, name: &str) -> bool {
        let pointer = pointer_to(name);
        self.problems
            .iter()
            .any(|problem| problem.pointer == pointer)
    }
}

/// The JSON pointer (RFC 6901) to a field of the body.
fn pointer_to(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}
