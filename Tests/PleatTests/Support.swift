import Pleat
import Quantization
import TensorModel
import TestSupport

/// Models in a scratch folder, and plans for them.
enum Models {
  /// Writes tensors as one checkpoint file and opens it.
  static func make(
    _ tensors: [Toy], in scratch: Scratch, metadata: [(String, String)] = [],
    as name: String = "model.safetensors"
  ) throws -> Model {
    try Model.open(try scratch.write(ToyFiles.safetensors(tensors, metadata: metadata), as: name))
  }

  /// A model whose tensors are all zeros: for decisions that are made by names and shapes.
  static func named(
    _ names: [(String, [Int])], _ type: ScalarType = .f16, in scratch: Scratch,
    metadata: [(String, String)] = [("general.architecture", "llama")]
  ) throws -> Model {
    try make(
      names.map { name, shape in
        let byteCount = shape.reduce(1, *) * type.bitWidth / 8
        return Toy(name, type, shape, bytes: [UInt8](repeating: 0, count: byteCount))
      }, in: scratch, metadata: metadata)
  }

  /// The model with the weights of a small LLaMA.
  static func tinylm() throws(ModelError) -> Model {
    try Model.open(Fixtures.path("tinylm"))
  }
}

extension Plan {
  /// The plan of a tensor.
  func tensor(_ name: String) -> TensorPlan? { tensors.first { $0.source.name == name } }

  /// What will be done with each tensor, in words: `4-bit, groups of 32 …`, or why it is kept.
  var decisions: [String: String] {
    Dictionary(
      uniqueKeysWithValues: tensors.map {
        ($0.source.name, $0.action == .copy ? $0.reason : $0.target.encoding.description)
      })
  }
}

extension Recipe {
  /// The schemes that make groups of 32 with these bits and parameters.
  static func schemeNames(bits: Int, _ parameters: ScalarType = .f16) -> [String] {
    let schemes = Schemes.all.filter { scheme in
      scheme.offsets.contains {
        let grouping = Grouping(bits: bits, groupSize: 32, offset: $0, parameters: parameters)
        return scheme.refusal(of: grouping) == nil
      }
    }
    return schemes.map { $0.name }
  }

  /// A recipe with some of its values set.
  static func with(
    type: String? = nil, bits: Int = 4, group: GroupSize? = nil, scheme: String? = nil,
    parameters: ScalarType = .f16, rules: [String] = []
  ) throws(ModelError) -> Recipe {
    var recipe = Recipe()
    recipe.type = type
    recipe.bits = bits
    recipe.group = group
    recipe.scheme = scheme
    recipe.parameters = parameters
    for rule in rules { recipe.rules.append(try Rule(text: rule)) }
    return recipe
  }
}

extension Model {
  /// The index of a tensor.
  func index(of name: String) -> Int? { catalog.tensors.firstIndex { $0.name == name } }

  /// All numbers of a tensor, by way of a conversion to F32.
  ///
  /// The other way round than the library decodes for statistics and comparisons.
  func floats(in scratch: Scratch) throws -> [String: [Float]] {
    let path = scratch.path("floats-\(try scratch.names().count).safetensors")
    let plan = try Plan.converting(
      self, decodingTo: .f32, to: Destination(path: path, format: .safetensors))
    try Run(plan)()
    let bytes = try Files.bytes(of: path)
    let dataStart = 8 + (0..<8).reduce(0) { $0 | Int(bytes[$1]) << (8 * $1) }
    var result: [String: [Float]] = [:]
    var offset = dataStart
    for tensor in try Model.open(path).catalog.tensors {
      guard case .plain(let type) = tensor.encoding,
        let byteCount = type.byteCount(of: tensor.shape.elementCount)
      else { continue }
      if type == .f32 {
        result[tensor.name] = Numbers.floats(f32: Array(bytes[offset..<offset + byteCount]))
      }
      offset += byteCount
    }
    return result
  }
}
