public import TensorModel
public import Weights

/// What the predictions of a model are compared with.
public enum EvaluationBase: Sendable {
  /// Those of another model, which runs with adapters that are not merged.
  ///
  /// With adapters, the model without them is evaluated, too.
  case model(Model, adapters: [AppliedAdapter] = [])
  /// Those of a file.
  case logits(LogitsFile)

  /// Opens a file of log probabilities, or else a model, without adapters.
  ///
  /// Throws what opening either throws.
  public static func open(_ path: String) throws(ModelError) -> EvaluationBase {
    if let file = try LogitsFile.open(path) { return .logits(file) }
    return .model(try Model.open(path))
  }

  /// The path as the user gave it.
  public var path: String {
    switch self {
    case .model(let model, _): model.path
    case .logits(let file): file.path
    }
  }

  /// The file; nil for a model.
  var logits: LogitsFile? { if case .logits(let file) = self { file } else { nil } }

  /// The adapters of a model.
  public var adapters: [AppliedAdapter] {
    if case .model(_, let adapters) = self { adapters } else { [] }
  }
}
