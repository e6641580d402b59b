//! The numbers of a graph's parameters.
use crate::graph::Graph;
use crate::op::Param;
use crate::tensor::{DType, Tensor};

/// Why numbers do not fit a graph.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeightsError {
    /// Not as many tensors as parameters.
    #[error("{found} tensors for {wanted} parameters")]
    Count {
        /// Tensors given.
        found: usize,
        /// Parameters there are.
        wanted: usize,
    },
    /// A tensor of integers.
    #[error("parameter `{name}` is {found}, not floating-point")]
    NotFloat {
        /// The parameter.
        name: String,
        /// The tensor's type.
        found: DType,
    },
    /// A tensor of another shape.
    #[error("parameter `{name}` has shape {found:?}, wanted {wanted:?}")]
    Shape {
        /// The parameter.
        name: String,
        /// The tensor's shape.
        found: Vec<usize>,
        /// The parameter's.
        wanted: Vec<usize>,
    },
}

/// One floating-point tensor for each parameter of a graph, with its shape.
#[derive(Clone, Debug)]
pub struct Weights(Vec<Tensor>);

impl Weights {
    /// `tensors` in the order of [`Graph::params`].
    ///
    /// # Errors
    /// The first that does not fit.
    pub fn new(graph: &Graph, tensors: Vec<Tensor>) -> Result<Self, WeightsError> {
        let specs = graph.params();
        if specs.len() != tensors.len() {
            return Err(WeightsError::Count { found: tensors.len(), wanted: specs.len() });
        }
        for (spec, tensor) in specs.iter().zip(&tensors) {
            let name = || spec.name.clone();
            if tensor.shape() != spec.shape {
                return Err(WeightsError::Shape { name: name(), found: tensor.shape().to_vec(), wanted: spec.shape.clone() });
            }
            if tensor.dtype() == DType::I64 {
                return Err(WeightsError::NotFloat { name: name(), found: DType::I64 });
            }
        }
        Ok(Self(tensors))
    }

    /// The numbers of a parameter.
    pub fn tensor(&self, param: Param) -> &Tensor {
        &self.0[param.index()]
    }

    /// All tensors, in the order of the graph's parameters.
    pub fn tensors(&self) -> &[Tensor] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Builder, Kind, Pick};

    #[test]
    fn every_tensor_is_held_to_its_parameter() {
        let mut g = Builder::default();
        let x = g.input(Kind::Image { channels: 2, height: 1, width: 1 });
        let x = g.flatten(x);
        let x = g.prepend("class", x);
        let x = g.pick(x, Pick::First, None);
        g.output("embedding", x);
        let graph = g.finish().unwrap();
        assert!(Weights::new(&graph, vec![Tensor::from_f32(&[2], vec![1.0, 2.0])]).is_ok());
        let error = Weights::new(&graph, vec![Tensor::from_f32(&[1, 2], vec![1.0, 2.0])]).unwrap_err();
        assert_eq!(error.to_string(), "parameter `class` has shape [1, 2], wanted [2]");
        assert_eq!(Weights::new(&graph, vec![]).unwrap_err(), WeightsError::Count { found: 0, wanted: 1 });
    }
}
