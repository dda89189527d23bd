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
    if metadata["general.architecture"]?.text == "clip" { return .projector }
    let isMeasured = tensors.allSatisfy {
      $0.name.hasSuffix(".in_sum2") || $0.name.hasSuffix(".counts")
    }
    return isMeasured && !tensors.isEmpty ? .importanceMatrix : .model
  }
}
