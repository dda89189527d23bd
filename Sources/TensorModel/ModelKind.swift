/// What the tensors of a file are for.
public enum ModelKind: String, Sendable, Hashable, CaseIterable {
  /// The weights of a model.
  case model
  /// Changes of the weights of a model.
  case adapter
  /// What llama-imatrix measured about the inputs of the weights of a model.
  case importanceMatrix
  /// The towers for pictures and sound of a llama.cpp model, without its text model.
  case projector
  /// Directions that llama.cpp adds to the hidden states of a model.
  case controlVector
  /// The tokenizer of a llama.cpp model, without its weights.
  case vocabulary
}

extension Catalog {
  /// What the tensors are for, by the metadata of GGUF files and the names of the tensors.
  public var kind: ModelKind {
    switch metadata["general.type"]?.text {
    case "adapter": return .adapter
    case "imatrix": return .importanceMatrix
    case "mmproj": return .projector
    default: break
    }
    switch metadata["general.architecture"]?.text {
    case "clip": return .projector
    case "controlvector": return .controlVector
    default: break
    }
    if tensors.isEmpty, metadata["tokenizer.ggml.tokens"] != nil { return .vocabulary }
    let isMeasured = tensors.allSatisfy {
      $0.name.hasSuffix(".in_sum2") || $0.name.hasSuffix(".counts")
    }
    return isMeasured && !tensors.isEmpty ? .importanceMatrix : .model
  }
}
