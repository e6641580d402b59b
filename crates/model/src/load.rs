//! Tensors of a checkpoint to weights of graphs, strictly: all that is missing, misshapen or unused is collected, then reported.
use std::collections::{BTreeMap, BTreeSet};

use hua_graph::{DType, Graph, Tensor, Weights};

use crate::error::{Mismatch, Misshapen};
use crate::layout::{Form, Layout};
use crate::names::LOGIT_SCALE;
use crate::source::Source;
use crate::{ModelError, Tower};

/// Which tensor each parameter of a graph comes from.
pub(crate) struct Plan {
    graph: Graph,
    places: Vec<(String, Form)>,
}

/// Matches a checkpoint's tensors with parameters.
pub(crate) struct Loader<'a> {
    source: &'a Source,
    layout: &'static Layout,
    /// From the names that the layout's rules know to those in the file.
    names: BTreeMap<String, &'a str>,
    used: BTreeSet<&'a str>,
    mismatch: Mismatch,
}

impl<'a> Loader<'a> {
    pub(crate) fn new(source: &'a Source, layout: &'static Layout, family: &'static str) -> Self {
        let mut names = BTreeMap::new();
        for name in source.checkpoint().names() {
            // A name that needs no alias wins; the other stays unused and is reported.
            let short = &name[source.prefix().len()..];
            let canonical = layout.canonical(short);
            if canonical == short || !names.contains_key(&canonical) {
                names.insert(canonical, name);
            }
        }
        let path = source.path().to_owned();
        let mismatch = Mismatch { path, family, missing: vec![], misshapen: vec![], unused: vec![], other_family: None };
        Self { source, layout, names, used: BTreeSet::new(), mismatch }
    }

    /// Finds the tensors of a graph's parameters by `place`, one of the layout's two.
    pub(crate) fn plan(&mut self, graph: Graph, place: impl Fn(&Layout, &str) -> Option<(String, Form)>) -> Result<Plan, ModelError> {
        let mut places = Vec::with_capacity(graph.params().len());
        let mut asked = BTreeSet::new();
        for param in graph.params() {
            let (name, form) = place(self.layout, &param.name).ok_or_else(|| ModelError::Layout {
                family: self.mismatch.family.to_owned(),
                layout: self.layout.name.to_owned(),
                reason: format!("it has no name for `{}`", param.name),
            })?;
            let first = asked.insert(name.clone());
            let found = self.find(&name, &form.stored_shape(&param.shape), first);
            places.push((found.unwrap_or(name), form));
        }
        Ok(Plan { graph, places })
    }

    /// The logit scale, once all is checked.
    pub(crate) fn plan_logit_scale(&mut self) -> String {
        let shape: &[usize] = if self.source.shape(LOGIT_SCALE) == Some(&[1]) { &[1] } else { &[] };
        self.find(LOGIT_SCALE, shape, true).unwrap_or_default()
    }

    /// The file's name of a tensor of that shape; what is wrong is noted, once.
    fn find(&mut self, name: &str, shape: &[usize], first: bool) -> Option<String> {
        let Some(&actual) = self.names.get(name) else {
            if first {
                self.mismatch.missing.push(format!("{}{name}", self.source.prefix()));
            }
            return None;
        };
        self.used.insert(actual);
        let checkpoint = self.source.checkpoint();
        let found = checkpoint.shape(actual).unwrap_or_default();
        let strange = checkpoint.element(actual).filter(|e| !matches!(e.dtype(), Some(DType::Bf16 | DType::F16 | DType::F32)));
        if (found != shape || strange.is_some()) && first {
            let (found, wanted) = match strange {
                Some(element) if found == shape => (format!("of {element}"), "f32, f16 or bf16".to_owned()),
                _ => (format!("{found:?}"), format!("{shape:?}")),
            };
            self.mismatch.misshapen.push(Misshapen { name: actual.to_owned(), found, wanted });
        }
        Some(actual.to_owned())
    }

    /// Checks that all that was asked for is there and that all that is there was asked for.
    pub(crate) fn check(mut self) -> Result<(), Box<Mismatch>> {
        let ignored = |actual: &str| self.layout.ignores(&self.layout.canonical(&actual[self.source.prefix().len()..]));
        let names = self.source.checkpoint().names();
        self.mismatch.unused = names.filter(|name| !self.used.contains(name) && !ignored(name)).map(str::to_owned).collect();
        let Mismatch { missing, misshapen, unused, .. } = &self.mismatch;
        if missing.is_empty() && misshapen.is_empty() && unused.is_empty() { Ok(()) } else { Err(Box::new(self.mismatch)) }
    }
}

impl Plan {
    /// The tower, views of the file but for what the file has transposed.
    pub(crate) fn read(self, source: &Source) -> Result<Tower, ModelError> {
        let checkpoint = source.checkpoint();
        let read = |(name, form): &(String, Form)| -> Result<Tensor, ModelError> {
            Ok(form.read(checkpoint.tensor(name)?).expect("the stored shape was checked"))
        };
        let tensors = self.places.iter().map(read).collect::<Result<_, _>>()?;
        let weights =
            Weights::new(&self.graph, tensors).map_err(|error| ModelError::Weights { path: source.path().to_owned(), source: error })?;
        Ok(Tower { graph: self.graph, weights })
    }
}
