//! The whole list of Python names that a pickle may mention, and what each is taken for. None of them is ever called.
use crate::checkpoint::element::ElementType;

/// A name of Python that hua knows as data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::checkpoint) enum Name {
    /// A class whose instances are data that nobody reads.
    Inert,
    /// `torch.jit._pickle.build_intlist` and its kin: the list they are given.
    List,
    /// `OrderedDict`, `defaultdict`.
    Mapping,
    /// The element type `torch.float32` and its kin.
    Element(ElementType),
    /// `torch._utils._rebuild_parameter`: the tensor it is given.
    Parameter,
    /// A class of TorchScript, `__torch__.…`.
    Script,
    /// `torch.Size`: the tuple it is given.
    Size,
    /// `torch.FloatStorage` and its kin; `None` for untyped bytes.
    Storage(Option<ElementType>),
    /// `torch._utils._rebuild_tensor`, `_rebuild_tensor_v2`.
    Tensor,
    /// `torch._utils._rebuild_tensor_v3`: the element type comes apart from the storage.
    TensorAndElement,
    /// `torch._tensor._rebuild_from_type_v2`: a function, a class, the function's arguments.
    Typed,
    /// `torch.jit._pickle.restore_type_tag`: a value and its type in words.
    Tagged,
}

impl Name {
    /// The name `module.name`, if it is one of those.
    pub(super) fn known(module: &str, name: &str) -> Option<Self> {
        let known = match (module, name) {
            ("collections", "OrderedDict" | "defaultdict") => Self::Mapping,
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Self::Tensor,
            ("torch._utils", "_rebuild_tensor_v3") => Self::TensorAndElement,
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Self::Parameter,
            ("torch._tensor", "_rebuild_from_type_v2") => Self::Typed,
            ("torch", "Size") => Self::Size,
            ("torch" | "torch.storage", "UntypedStorage") => Self::Storage(None),
            ("torch", "Tensor" | "device") | ("torch.nn.parameter", "Parameter") => Self::Inert,
            ("torch" | "torch.cuda", _) => {
                let storage = ElementType::from_storage_class(name).map(|element| Self::Storage(Some(element)));
                return storage.or_else(|| ElementType::from_torch_dtype(name).map(Self::Element));
            }
            ("torch.jit._pickle", "restore_type_tag") => Self::Tagged,
            ("torch.jit._pickle", "build_intlist" | "build_doublelist" | "build_boollist" | "build_tensorlist") => Self::List,
            ("argparse", "Namespace") | ("numpy", "dtype") | ("_codecs", "encode") => Self::Inert,
            ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => Self::Inert,
            ("builtins" | "__builtin__", "list" | "dict" | "int" | "float" | "set") => Self::Inert,
            _ if module == "__torch__" || module.starts_with("__torch__.") => Self::Script,
            _ => return None,
        };
        Some(known)
    }
}
