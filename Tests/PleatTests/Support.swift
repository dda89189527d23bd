import Pleat
import Quantization
import TensorModel
import TestSupport

/// Models in a scratch folder.
enum Models {
  /// Writes tensors to one safetensors file and opens it.
  static func make(
    _ tensors: [Toy], in scratch: Scratch, metadata: [(String, String)] = [],
    as name: String = "model.safetensors"
  ) throws -> Model {
    try Model.open(try scratch.write(ToyFiles.safetensors(tensors, metadata: metadata), as: name))
  }

  /// A model whose weights are zero, for decisions that depend on names and shapes.
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

  /// The model in `fixtures/tinylm`, a small LLaMA.
  static func tinylm() throws(ModelError) -> Model {
    try Model.open(Fixtures.path("tinylm"))
  }
}

extension Plan {
  /// The job of a tensor.
  func job(_ name: String) -> TensorJob? { jobs.first { $0.source.name == name } }

  /// The target encoding of each tensor, such as `4-bit, groups of 32 …`, or why it is copied.
  var decisions: [String: String] {
    Dictionary(
      uniqueKeysWithValues: jobs.map {
        ($0.source.name, $0.action == .copy ? $0.reason : $0.target.encoding.description)
      })
  }
}

extension TensorWish {
  /// Groups of 32 and 4 bits with F16 biases.
  static let grouping = Grouping(bits: 4, groupSize: 32, offset: .bias, parameters: .f16)

  /// A wish for a tensor that is quantized to these groups.
  static func quantized(_ info: TensorInfo) -> TensorWish {
    TensorWish(
      info, to: .grouped(grouping),
      .encode([], .groups(Schemes.standard.quantizer(grouping))), "test")
  }
}

extension TensorJob {
  /// The grouping and the scheme of the quantizer; nil if the job has none.
  var quantizer: (grouping: Grouping, scheme: String)? {
    guard case .encode(_, .groups(let quantizer, _)) = transform else { return nil }
    return (quantizer.grouping, quantizer.schemeName)
  }
}

extension Recipe {
  /// The names of the schemes that support groups of 32 with these bits and parameters.
  static func schemeNames(bits: Int, _ parameters: ScalarType = .f16) -> [String] {
    let schemes = Schemes.all.filter { scheme in
      scheme.offsets.contains {
        let grouping = Grouping(bits: bits, groupSize: 32, offset: $0, parameters: parameters)
        return scheme.refusal(grouping) == nil
      }
    }
    return schemes.map { $0.name }
  }

  /// A recipe with some values set.
  static func with(
    type: String? = nil, isPure: Bool = false, bits: Int = 4, group: GroupSize? = nil,
    offset: Grouping.Offset? = nil, scheme: String? = nil,
    parameters: ScalarType = .f16, rules: [String] = []
  ) throws(ModelError) -> Recipe {
    var recipe = Recipe()
    recipe.type = type
    recipe.isPure = isPure
    recipe.bits = type == nil ? bits : nil
    recipe.group = group
    recipe.offset = offset
    recipe.scheme = scheme
    recipe.parameters = parameters
    for rule in rules { recipe.rules.append(try Rule(text: rule)) }
    return recipe
  }
}

extension Model {
  /// The index of a tensor.
  func index(of name: String) -> Int? { catalog.tensors.firstIndex { $0.name == name } }

  /// The values of all tensors that a conversion to F32 decodes, by name.
  ///
  /// Statistics and comparisons decode on another path, so tests compare the two.
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
