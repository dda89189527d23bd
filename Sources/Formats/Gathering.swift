internal import Bytes
internal import TensorModel

/// What the spellings of Hugging Face checkpoints share: weights made of tensors with known names.
extension StoredContents {
  /// The weights that parts make up, each in the place of a part, and every other tensor as it is.
  ///
  /// `weights` are by the index of the part whose place they take; `unused` tensors are left out.
  func gathered(
    _ weights: [Int: GatheredTensor], leavingOut unused: Set<Int> = []
  ) -> [GatheredTensor] {
    let parts = weights.values.reduce(into: unused) { $0.formUnion($1.parts) }
    return tensors.indices.compactMap { index in
      weights[index]
        ?? (parts.contains(index) ? nil : GatheredTensor(plain: tensors[index], at: index))
    }
  }
}

extension GatheredTensor {
  /// A stored tensor that is a weight of its own.
  init(plain tensor: StoredTensor, at index: Int) {
    self.init(
      info: TensorInfo(name: tensor.name, shape: tensor.shape, encoding: tensor.encoding),
      parts: [index])
  }
}

/// The stored tensors of a model by name.
struct StoredNames {
  private let stored: [StoredTensor]
  private let places: [ExactName: Int]

  init(_ stored: [StoredTensor]) {
    self.stored = stored
    places = Dictionary(
      stored.enumerated().map { (ExactName($1.name), $0) }, uniquingKeysWith: { _, last in last })
  }

  /// The index of a tensor; nil where there is none.
  subscript(name: String) -> Int? { places[ExactName(name)] }

  /// The layers of tensors whose names end in one of these, each once, in file order.
  func layers(endingIn endings: [String]) -> [String] {
    var seen: Set<ExactName> = []
    return stored.compactMap { tensor in
      guard let ending = endings.first(where: tensor.name.hasSuffix) else { return nil }
      let path = String(tensor.name.dropLast(ending.count))
      return seen.insert(ExactName(path)).inserted ? path : nil
    }
  }

  /// The indices of the tensors of a layer that have these names after its path.
  ///
  /// Throws `malformed` when one is missing.
  func parts(_ names: [String], of path: String) throws(ModelError) -> [Int] {
    let names = names.map { path + $0 }
    let found = names.compactMap { self[$0] }
    guard found.count == names.count else {
      throw ModelError(
        .malformed, "a tensor of a quantized weight is missing", tensor: path,
        expected: names.joined(separator: ", "),
        found: found.map { stored[$0].name }.joined(separator: ", "))
    }
    return found
  }
}

/// The part of `config.json` that says how weights are quantized.
enum QuantizationConfig {
  /// Every key under which some tool describes how weights were quantized.
  static let keys = ["quantization", key]
  /// The key of Hugging Face.
  static let key = "quantization_config"

  /// A config with a description under some keys, nil where no weight is quantized, in place of any
  /// other, which is true no longer.
  ///
  /// Throws `unsupported` when there is no document.
  static func describing(
    _ config: JSONValue?, as description: JSONValue?, under keys: [String], of format: String
  ) throws(ModelError) -> JSONValue {
    guard case .object(let members)? = config else {
      throw ModelError(
        .unsupported, "\(format) needs a config.json, which the model lacks",
        expected: "a Hugging Face checkpoint, or a file made from one")
    }
    let others = members.filter { !Self.keys.contains($0.key) }
    return .object(others + (description.map { value in keys.map { .init($0, value) } } ?? []))
  }
}
