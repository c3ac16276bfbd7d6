//! Reads the parameters of a URL and collects everything that is wrong with them: unknown ones,
//! repeated ones and broken rules, all at once.

use actix_web::web::Query;
use platform::http::{FieldProblem, HttpCode, Problem};

/// One form of a route, told from the others by its parameters.
pub(crate) struct Form {
    /// As a client writes it, such as `GET /v1/users?ids=…`.
    pub(crate) name: &'static str,
    /// What it takes.
    pub(crate) takes: &'static [&'static str],
}

impl Form {
    /// Why this form does not take the parameter; `others` are the route's other forms.
    fn refuses(&self, parameter: &str, others: &[&Self]) -> String {
        let Self { name, takes } = self;
        if takes.contains(&parameter) {
            return "must be sent once only".to_owned();
        }
        let of = others.iter().filter(|form| form.takes.contains(&parameter));
        let of: Vec<_> = of.map(|form| form.name).collect();
        let takes = takes.join(", ");
        if of.is_empty() {
            return format!("is no parameter of this route; {name} takes {takes}");
        }
        let of = of.join(" and ");
        format!("belongs to {of}; this is {name}, which takes {takes}")
    }
}

/// The parameters of one request.
#[derive(Debug)]
pub(crate) struct Parameters {
    left: Vec<(String, String)>,
    problems: Vec<FieldProblem>,
}

impl Parameters {
    /// Reads a query string.
    pub(crate) fn read(query: &str) -> Result<Self, Problem> {
        let left = Query::<Vec<(String, String)>>::from_query(query).map_err(|_| {
            Problem::new(HttpCode::BadRequest).detail("the query of the URL is not understood")
        })?;
        Ok(Self {
            left: left.into_inner(),
            problems: Vec::new(),
        })
    }

    /// Whether the parameter was sent.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.left.iter().any(|(given, _)| given == name)
    }

    /// Takes a parameter, as `parse` reads it.
    pub(crate) fn take<T, E: std::fmt::Display>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let at = self.left.iter().position(|(given, _)| given == name)?;
        let (_, value) = self.left.remove(at);
        if value.contains('\0') {
            self.reject(name, "must not contain the character NUL");
            return None;
        }
        match parse(&value) {
            Ok(value) => Some(value),
            Err(error) => {
                self.reject(name, error);
                None
            }
        }
    }

    /// Says that a parameter is wrong.
    pub(crate) fn reject(&mut self, name: &str, detail: impl std::fmt::Display) {
        let detail = detail.to_string();
        self.problems.push(FieldProblem {
            pointer: name.to_owned(),
            detail,
        });
    }

    /// Refuses what is left over and whatever was wrong; `others` are the route's other forms.
    pub(crate) fn finish(mut self, form: &Form, others: &[&Form]) -> Result<(), Problem> {
        for (name, _) in std::mem::take(&mut self.left) {
            let detail = form.refuses(&name, others);
            // A client's text is shown back only as far as a name may reach.
            let name: String = name
                .chars()
                .filter(|one| !one.is_control())
                .take(64)
                .collect();
            self.reject(&name, detail);
        }
        if self.problems.is_empty() {
            return Ok(());
        }
        Err(Problem::new(HttpCode::InvalidParameter).fields(self.problems))
    }
}
