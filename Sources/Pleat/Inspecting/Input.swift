public import Bytes
public import Formats
public import TensorModel
public import Weights

/// What a path leads to, for commands that accept more than models.
public enum Input: Sendable {
  /// A model, an adapter, or anything else that `Model` opens.
  case model(Model)
  /// An importance matrix of llama-imatrix.
  case importance(ImportanceMatrix)

  /// The importance matrix; nil for anything else.
  public var importance: ImportanceMatrix? {
    if case .importance(let matrix) = self { matrix } else { nil }
  }

  /// Opens a path, and tells by its content what it leads to.
  ///
  /// Bad numbers of an importance matrix are listed in its `faults`. Throws what `Model.open` and
  /// `ImportanceMatrix.open` throw.
  public static func open(
    _ path: String, limits: ReadLimits = ReadLimits()
  ) throws(ModelError) -> Input {
    if try ImportanceMatrix.isData(path) {
      return .importance(try ImportanceMatrix.open(path, limits: limits))
    }
    let model = try Model.open(path, limits: limits)
    guard model.kind == .importanceMatrix, model.format == .gguf else { return .model(model) }
    return .importance(try ImportanceMatrix.open(path, limits: limits))
  }
}
