internal import Bytes
internal import TensorModel

/// A dense layer of sentence-transformers, which maps the pooled vector by a matrix.
struct DenseLayer: Sendable {
  /// llama.cpp's names of the layers, in the order in which it applies them.
  static let names = ["dense_2", "dense_3"]
  static let weight = "linear.weight"
  static let types: Set<ScalarType> = [.f32, .f16, .bf16]
  static let identity = "Identity"

  /// The shape of the matrix: outputs × inputs.
  private let shape: Shape
  private let type: ScalarType
  /// The numbers, as the file stores them.
  private let bytes: [UInt8]
  /// The path of the file, for messages.
  private let path: String

  var outputCount: Int { shape.dimensions[0] }
  var inputCount: Int { shape.dimensions[1] }

  /// Reads the layer in a folder of a model.
  ///
  /// Throws `unsupported` for an activation, a bias, and weights that are not a matrix of plain
  /// numbers in `model.safetensors`; `malformed` for a matrix of another shape than its config
  /// states, and what reading throws.
  init(_ folder: String, _ companions: CompanionReader) throws(ModelError) {
    let name = "\(folder)/config.json"
    let config = try companions.object(name)
    let activation = config["activation_function"]?.string ?? "Tanh"
    guard activation.split(separator: ".").last.map(String.init) == Self.identity else {
      throw Self.refusal(
        companions.path(of: name), "activation_function", Self.identity, activation)
    }
    let file = "\(folder)/model.safetensors"
    path = companions.path(of: file)
    guard let contents = try companions.bytes(of: file) else {
      throw Self.refusal(path, nil, "the weights of the dense layer", "no such file")
    }
    let header = try SafetensorsHeader(ByteReader(contents, path: path), limits: ReadLimits())
    if let other = header.entries.first(where: { $0.tensor.name != Self.weight }) {
      throw Self.refusal(path, other.tensor.name, "\(Self.weight) alone", other.tensor.name)
    }
    guard let entry = header.entries.first, case .plain(let type) = entry.tensor.encoding,
      Self.types.contains(type), entry.tensor.shape.rank == 2
    else {
      throw Self.refusal(
        path, Self.weight, "a matrix of F32, F16 or BF16",
        header.entries.first.map { "\($0.tensor.shape)" } ?? "nothing")
    }
    (shape, self.type) = (entry.tensor.shape, type)
    bytes = Array(contents[entry.offset..<entry.offset + entry.tensor.byteCount])
    let stated = [config["out_features"]?.int, config["in_features"]?.int]
    guard stated == shape.dimensions.map(Optional.some) else {
      throw ModelError(
        .malformed, "the matrix has another shape than \(name) states", file: path,
        tensor: Self.weight,
        expected: stated.map { $0.map(String.init) ?? "nothing" }.joined(separator: "×")
          + ", out_features × in_features", found: "\(shape)")
    }
  }

  /// The tensor for a llama.cpp model, with the type that the file has.
  ///
  /// Throws `malformed` for a matrix that cannot be stored.
  func addition(named name: String) throws(ModelError) -> TensorAddition {
    if let stored = StoredTensor(plain: "\(name).weight", shape, type) {
      return TensorAddition(stored: stored, bytes: bytes)
    }
    throw ModelError(.malformed, "the matrix cannot be stored", file: path, tensor: Self.weight)
  }

  /// Throws `unsupported` if llama.cpp does not apply layers one after the other to a vector.
  ///
  /// It gives a vector of `width` numbers, and has a name for two layers.
  static func check(_ layers: [DenseLayer], width: Int) throws(ModelError) {
    var count = width
    for (index, layer) in layers.enumerated() {
      guard index < names.count else {
        throw refusal(layer.path, nil, "\(names.count) dense layers", "\(layers.count)")
      }
      guard layer.inputCount == count else {
        throw refusal(layer.path, weight, "\(count) inputs", "\(layer.inputCount)")
      }
      count = layer.outputCount
    }
    guard let last = layers.last, count != width else { return }
    throw refusal(
      last.path, weight, "\(width) outputs of the last layer, which is hidden_size", "\(count)")
  }

  private static func refusal(
    _ file: String, _ tensor: String?, _ expected: String, _ found: String
  ) -> ModelError {
    ModelError(
      .unsupported, "llama.cpp does not apply this dense layer of sentence-transformers",
      file: file, tensor: tensor, expected: expected, found: found,
      hint: "take the folder out of \(SentenceModules.fileName) to convert the model without it")
  }
}
