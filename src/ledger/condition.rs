//! Conditions and writes as data: written once, used as a DynamoDB expression and as a pure function of a row.
//!
//! - A [`Transition`] is a named change: a [`Condition`] and the [`Write`]s that happen when it holds.
//! - [`Transition::expression`] makes the condition expression and the update expression of it, for a call to DynamoDB.
//! - [`Transition::allows`], [`Transition::is_done`] and [`Transition::apply`] give the same answers without a network.
//!   Code asks them about a row that it already has, and tests compare them with DynamoDB.
//!
//! Names of attributes always go through `ExpressionAttributeNames`, so no reserved word of DynamoDB matters, and
//! values through `ExpressionAttributeValues`, so no value can change an expression. The grammar is that of the
//! DynamoDB Developer Guide, "Condition and filter expressions, operators, and functions".

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

/// A row as DynamoDB has it.
pub type Item = HashMap<String, AttributeValue>;

/// What must hold of a row. Values whose name begins with `:` are bound when the condition is used.
#[derive(Debug)]
pub enum Condition {
    /// The attribute is this word: `#state = :is_received`.
    Is(&'static str, &'static str),
    /// `attribute_exists(#name)`.
    Exists(&'static str),
    /// `attribute_not_exists(#name)`. It holds for a row that is not there, too.
    Absent(&'static str),
    /// The attribute is a number in this order to the bound one: `#due_at <= :now`. False where it is no number.
    Number(&'static str, Order, &'static str),
    /// The attribute has exactly the bound value, whatever its type. Where no value is bound, it is absent.
    Same(&'static str, &'static str),
    /// All of them hold (`AND`).
    All(&'static [Condition]),
    /// At least one of them holds (`OR`). An empty list never holds.
    Any(&'static [Condition]),
}

/// How an attribute compares with a bound number.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    Below,
    AtMost,
    Equal,
    AtLeast,
    Above,
}

impl Order {
    fn sign(self) -> &'static str {
        match self {
            Self::Below => "<",
            Self::AtMost => "<=",
            Self::Equal => "=",
            Self::AtLeast => ">=",
            Self::Above => ">",
        }
    }

    fn holds(self, left: i64, right: i64) -> bool {
        match self {
            Self::Below => left < right,
            Self::AtMost => left <= right,
            Self::Equal => left == right,
            Self::AtLeast => left >= right,
            Self::Above => left > right,
        }
    }
}

/// One change to a row. The first text is the attribute, the second the word or the bound value.
#[derive(Debug)]
pub enum Write {
    /// Sets the attribute to this word.
    Word(&'static str, &'static str),
    /// Sets the attribute to the number 0.
    Zero(&'static str),
    /// Sets the attribute to the bound value.
    Set(&'static str, &'static str),
    /// Set where a value is bound, and left alone where none is.
    Maybe(&'static str, &'static str),
    /// Set where a value is bound, and removed where none is.
    Replace(&'static str, &'static str),
    /// Adds 1. A missing attribute counts as 0 (DynamoDB API reference, `UpdateItem`, `ADD`).
    Increment(&'static str),
    /// Adds the bound string set to the one that is there.
    Union(&'static str, &'static str),
    /// Removes the attribute.
    Remove(&'static str),
}

/// A named change of a row.
#[derive(Debug)]
pub struct Transition {
    pub name: &'static str,
    /// What must hold of the row, or the write fails with `ConditionalCheckFailedException`.
    pub when: Condition,
    /// What a row shows that this very call has changed already. The SDK repeats a write whose answer was lost. The
    /// condition of the repeat then fails, DynamoDB returns the row, and `done` shows whether the change is our own.
    pub done: Condition,
    pub writes: &'static [Write],
}

/// The values that a transition is used with, by their names (`:now`).
#[derive(Clone, Debug, Default)]
pub struct Binds(HashMap<&'static str, AttributeValue>);

impl Binds {
    #[must_use]
    pub fn number(mut self, name: &'static str, value: i64) -> Self {
        self.0.insert(name, AttributeValue::N(value.to_string()));
        self
    }

    #[must_use]
    pub fn text(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.0.insert(name, AttributeValue::S(value.into()));
        self
    }

    #[must_use]
    pub fn value(mut self, name: &'static str, value: Option<AttributeValue>) -> Self {
        if let Some(value) = value {
            self.0.insert(name, value);
        }
        self
    }

    pub(super) fn get(&self, name: &str) -> Option<&AttributeValue> {
        self.0.get(name)
    }
}

/// A transition in DynamoDB's language, with the names and values that it uses. DynamoDB rejects a call that brings
/// others (`ValidationException`).
#[derive(Clone, Debug, Default)]
pub struct Expression {
    pub condition: String,
    pub update: String,
    pub names: HashMap<String, String>,
    pub values: HashMap<String, AttributeValue>,
}

impl Transition {
    /// As a call to DynamoDB has it.
    pub fn expression(&self, binds: &Binds) -> Expression {
        let mut expression = Expression::default();
        expression.condition = expression.condition_text(&self.when, binds);
        expression.update = expression.update_text(self.writes, binds);
        expression
    }

    /// Whether DynamoDB would let this happen to the row. A row that is not there is an empty one.
    pub fn allows(&self, row: &Item, binds: &Binds) -> bool {
        holds(&self.when, row, binds)
    }

    /// Whether a row for which the condition failed shows that an earlier try of the same call has changed it.
    pub fn is_done(&self, row: &Item, binds: &Binds) -> bool {
        holds(&self.done, row, binds)
    }

    /// The row after the transition. The condition is not checked.
    pub fn apply(&self, row: &Item, binds: &Binds) -> Item {
        let mut row = row.clone();
        for write in self.writes {
            change(&mut row, write, binds);
        }
        row
    }
}

impl Expression {
    fn name(&mut self, attribute: &str) -> String {
        let name = format!("#{attribute}");
        self.names.insert(name.clone(), attribute.to_owned());
        name
    }

    fn bound(&mut self, name: &str, binds: &Binds) -> String {
        if let Some(value) = binds.get(name) {
            self.values.insert(name.to_owned(), value.clone());
        }
        name.to_owned()
    }

    fn word(&mut self, word: &str) -> String {
        let name = format!(":is_{word}");
        self.values.insert(name.clone(), AttributeValue::S(word.to_owned()));
        name
    }

    fn condition_text(&mut self, condition: &Condition, binds: &Binds) -> String {
        match condition {
            Condition::Is(attribute, word) => format!("{} = {}", self.name(attribute), self.word(word)),
            Condition::Exists(attribute) => format!("attribute_exists({})", self.name(attribute)),
            Condition::Absent(attribute) => format!("attribute_not_exists({})", self.name(attribute)),
            Condition::Number(attribute, order, bind) => {
                format!("{} {} {}", self.name(attribute), order.sign(), self.bound(bind, binds))
            }
            Condition::Same(attribute, bind) if binds.get(bind).is_none() => {
                format!("attribute_not_exists({})", self.name(attribute))
            }
            Condition::Same(attribute, bind) => {
                format!("{} = {}", self.name(attribute), self.bound(bind, binds))
            }
            Condition::All(parts) => self.join(parts, " AND ", binds),
            Condition::Any(parts) => self.join(parts, " OR ", binds),
        }
    }

    fn join(&mut self, parts: &[Condition], word: &str, binds: &Binds) -> String {
        let parts: Vec<String> = parts.iter().map(|part| self.condition_text(part, binds)).collect();
        format!("({})", parts.join(word))
    }

    fn update_text(&mut self, writes: &[Write], binds: &Binds) -> String {
        let (mut set, mut add, mut remove) = (Vec::new(), Vec::new(), Vec::new());
        for write in writes {
            match write {
                Write::Word(attribute, word) => {
                    set.push(format!("{} = {}", self.name(attribute), self.word(word)))
                }
                Write::Zero(attribute) => {
                    self.values.insert(":zero".to_owned(), AttributeValue::N("0".to_owned()));
                    set.push(format!("{} = :zero", self.name(attribute)));
                }
                Write::Maybe(_, bind) if binds.get(bind).is_none() => {}
                Write::Replace(attribute, bind) if binds.get(bind).is_none() => {
                    remove.push(self.name(attribute));
                }
                Write::Set(attribute, bind)
                | Write::Maybe(attribute, bind)
                | Write::Replace(attribute, bind) => {
                    set.push(format!("{} = {}", self.name(attribute), self.bound(bind, binds)));
                }
                Write::Increment(attribute) => {
                    self.values.insert(":one".to_owned(), AttributeValue::N("1".to_owned()));
                    add.push(format!("{} :one", self.name(attribute)));
                }
                Write::Union(attribute, bind) => {
                    add.push(format!("{} {}", self.name(attribute), self.bound(bind, binds)));
                }
                Write::Remove(attribute) => remove.push(self.name(attribute)),
            }
        }
        let clauses = [("SET", set), ("ADD", add), ("REMOVE", remove)];
        let reported = clauses.iter().filter(|(_, parts)| !parts.is_empty());
        reported.map(|(clause, parts)| format!("{clause} {}", parts.join(", "))).collect::<Vec<_>>().join(" ")
    }
}

fn holds(condition: &Condition, row: &Item, binds: &Binds) -> bool {
    match condition {
        Condition::Is(attribute, word) => text(row, attribute) == Some(*word),
        Condition::Exists(attribute) => row.contains_key(*attribute),
        Condition::Absent(attribute) => !row.contains_key(*attribute),
        Condition::Number(attribute, order, bind) => {
            match (row.get(*attribute).and_then(as_number), binds.get(bind).and_then(as_number)) {
                (Some(left), Some(right)) => order.holds(left, right),
                _ => false,
            }
        }
        Condition::Same(attribute, bind) => row.get(*attribute) == binds.get(bind),
        Condition::All(parts) => parts.iter().all(|part| holds(part, row, binds)),
        Condition::Any(parts) => parts.iter().any(|part| holds(part, row, binds)),
    }
}

fn change(row: &mut Item, write: &Write, binds: &Binds) {
    match write {
        Write::Word(attribute, word) => {
            row.insert((*attribute).to_owned(), AttributeValue::S((*word).to_owned()));
        }
        Write::Zero(attribute) => {
            row.insert((*attribute).to_owned(), AttributeValue::N("0".to_owned()));
        }
        Write::Replace(attribute, bind) if binds.get(bind).is_none() => {
            row.remove(*attribute);
        }
        Write::Set(attribute, bind) | Write::Maybe(attribute, bind) | Write::Replace(attribute, bind) => {
            if let Some(value) = binds.get(bind) {
                row.insert((*attribute).to_owned(), value.clone());
            }
        }
        Write::Increment(attribute) => {
            let sum = number(row, attribute).unwrap_or(0) + 1;
            row.insert((*attribute).to_owned(), AttributeValue::N(sum.to_string()));
        }
        Write::Union(attribute, bind) => {
            let mut all = row.get(*attribute).and_then(|set| set.as_ss().ok().cloned()).unwrap_or_default();
            for member in binds.get(bind).and_then(|set| set.as_ss().ok()).into_iter().flatten() {
                if !all.contains(member) {
                    all.push(member.clone());
                }
            }
            row.insert((*attribute).to_owned(), AttributeValue::Ss(all));
        }
        Write::Remove(attribute) => {
            row.remove(*attribute);
        }
    }
}

fn as_number(value: &AttributeValue) -> Option<i64> {
    value.as_n().ok()?.parse().ok()
}

/// A number of a row.
pub fn number(row: &Item, attribute: &str) -> Option<i64> {
    row.get(attribute).and_then(as_number)
}

/// A text of a row.
pub fn text<'a>(row: &'a Item, attribute: &str) -> Option<&'a str> {
    row.get(attribute).and_then(|value| value.as_s().ok()).map(String::as_str)
}
