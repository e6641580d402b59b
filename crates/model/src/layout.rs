//! How a file names its tensors, as data: one table of rules that reading and writing share.
//!
//! A rule pairs a pattern of hua's parameter names with a pattern of the file's. `#` stands for a number and `*` for the rest of the
//! name, which has no dot; they stand for the same on both sides. What is stored otherwise than hua has it (query, key and value in
//! one, projections transposed) is said by the rule's [`Form`].
use hua_graph::Tensor;

/// How a parameter is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As it is.
    Plain,
    /// As one of several equal parts of the stored tensor's rows.
    Part {
        /// Which.
        index: usize,
        /// Of how many.
        of: usize,
    },
    /// With rows and columns exchanged.
    Transposed,
}

impl Form {
    /// The shape of the stored tensor, if the parameter's is `shape`.
    pub fn stored_shape(self, shape: &[usize]) -> Vec<usize> {
        let mut stored = shape.to_vec();
        match self {
            Self::Plain => {}
            Self::Part { of, .. } => {
                if let Some(rows) = stored.first_mut() {
                    *rows *= of;
                }
            }
            Self::Transposed => stored.reverse(),
        }
        stored
    }

    /// The parameter, of a stored tensor of the right shape; a view unless it is transposed.
    pub fn read(self, stored: Tensor) -> Option<Tensor> {
        match self {
            Self::Plain => Some(stored),
            Self::Part { index, of } => {
                let rows = stored.shape().first()? / of;
                stored.rows(index * rows..(index + 1) * rows)
            }
            Self::Transposed => stored.transposed(),
        }
    }
}

/// One line of a layout: hua's name, the file's name, and how it is stored.
#[derive(Clone, Copy, Debug)]
pub struct Rule(pub &'static str, pub &'static str, pub Form);

/// Rules whose file names all start with the same prefix.
#[derive(Clone, Copy, Debug)]
pub struct Group(pub &'static str, pub &'static [Rule]);

/// How a family's checkpoint names its tensors.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Its name, such as `hugging-face`.
    pub name: &'static str,
    /// How the file is written.
    pub container: Container,
    /// The image tower's tensors.
    pub image: &'static [Group],
    /// The text tower's.
    pub text: &'static [Group],
    /// Tensors without use: exact names, or the start or end of one with a `*` for the rest.
    pub ignored: &'static [&'static str],
    /// Parts of names that some files spell otherwise: what they say, and what the rules say.
    pub aliases: &'static [(&'static str, &'static str)],
}

/// What a layout is written into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// `config.json` and `model.safetensors`.
    HuggingFace,
    /// One PyTorch file.
    Torch {
        /// The file's name.
        file: &'static str,
        /// Prefix of all names.
        prefix: &'static str,
        /// Whether the state dict is inside another dict, under `state_dict`.
        wrapped: bool,
    },
}

impl Layout {
    /// Where the image tower's parameter of that name is stored.
    pub fn image_place(&self, param: &str) -> Option<(String, Form)> {
        place(self.image, param)
    }

    /// Where the text tower's parameter of that name is stored.
    pub fn text_place(&self, param: &str) -> Option<(String, Form)> {
        place(self.text, param)
    }

    /// Whether a tensor of that name is known to be of no use.
    pub fn ignores(&self, name: &str) -> bool {
        self.ignored.iter().any(|pattern| match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
            (Some(end), _) => name.ends_with(end),
            (_, Some(start)) => name.starts_with(start),
            _ => name == *pattern,
        })
    }

    /// The name that the rules have for what a file calls `name`.
    pub fn canonical(&self, name: &str) -> String {
        self.aliases.iter().fold(name.to_owned(), |name, (from, to)| name.replacen(from, to, 1))
    }
}

/// The first rule that knows `param`.
fn place(groups: &[Group], param: &str) -> Option<(String, Form)> {
    groups.iter().find_map(|Group(prefix, rules)| {
        rules.iter().find_map(|Rule(ours, file, form)| {
            let found = captures(ours, param)?;
            Some((format!("{prefix}{}", filled(file, &found)), *form))
        })
    })
}

/// What `#` and `*` stand for in `name`, if it is one of `pattern`'s.
fn captures<'a>(pattern: &str, mut name: &'a str) -> Option<Vec<&'a str>> {
    let mut found = vec![];
    for c in pattern.chars() {
        let taken = match c {
            '#' => name.find(|c: char| !c.is_ascii_digit()).unwrap_or(name.len()),
            '*' => name.find('.').unwrap_or(name.len()),
            c if name.starts_with(c) => {
                name = &name[c.len_utf8()..];
                continue;
            }
            _ => return None,
        };
        if taken == 0 {
            return None;
        }
        let (head, tail) = name.split_at(taken);
        found.push(head);
        name = tail;
    }
    name.is_empty().then_some(found)
}

/// `pattern` with each `#` and `*` replaced, in order.
fn filled(pattern: &str, found: &[&str]) -> String {
    let mut found = found.iter();
    let mut out = String::new();
    for c in pattern.chars() {
        match c {
            '#' | '*' => out.push_str(found.next().expect("both sides of a rule have as many placeholders, which a test checks")),
            c => out.push(c),
        }
    }
    out
}

/// Thirds of a fused projection.
pub(crate) const fn third(index: usize) -> Form {
    Form::Part { index, of: 3 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FAMILIES;

    #[test]
    fn names_are_translated_by_pattern() {
        assert_eq!(captures("blocks.#.mlp.up.*", "blocks.12.mlp.up.weight").unwrap(), ["12", "weight"]);
        assert_eq!(captures("stage#.#.conv#.weight", "stage4.10.conv2.weight").unwrap(), ["4", "10", "2"]);
        for (pattern, name) in
            [("blocks.#.q.*", "blocks..q.weight"), ("q.*", "q.weight.x"), ("q.*", "q."), ("embed.norm#.*", "embed.norm.bias")]
        {
            assert!(captures(pattern, name).is_none(), "{pattern} {name}");
        }
        assert_eq!(filled("layers.#.attn.in_proj_*", &["3", "bias"]), "layers.3.attn.in_proj_bias");
    }

    #[test]
    fn both_sides_of_every_rule_have_the_same_placeholders() {
        let placeholders = |s: &str| s.chars().filter(|c| "#*".contains(*c)).collect::<String>();
        for layout in FAMILIES.iter().flat_map(|family| family.layouts()) {
            for Group(_, rules) in layout.image.iter().chain(layout.text) {
                for Rule(ours, file, _) in *rules {
                    assert_eq!(placeholders(ours), placeholders(file), "{}: {ours}", layout.name);
                }
            }
        }
    }
}
