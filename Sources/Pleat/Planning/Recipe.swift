public import Bytes
internal import Formats
internal import Quantization
internal import SystemPackage
public import TensorModel
internal import Weights

/// The user's settings for quantization; see `formats/recipe.md` for its JSON.
public struct Recipe: Sendable, Hashable {
  /// llama.cpp's name of a mix, such as `Q4_K_M` or `Q4_0`; nil without one.
  ///
  /// It determines the block type of each tensor.
  public var type: String?
  /// Whether all tensors get the type that most tensors of the mix have.
  public var isPure = false
  /// llama.cpp's name of the block type of the output head; nil for that of the mix.
  public var outputType: String?
  /// llama.cpp's name of the block type of the token embeddings; nil for that of the mix.
  public var embeddingType: String?
  /// A mode of MLX, which determines codes and scales; nil without one.
  public var mode: ScaledMode?
  /// The bits of a code; nil for 4, for those of the mode, or for the usual mix of the target format.
  public var bits: Int?
  /// The columns that share a scale; nil for the group of the mode, or for the usual one of the target
  /// format.
  public var group: GroupSize?
  /// What a group stores besides its scale; nil for what is usual in the target format.
  public var offset: Grouping.Offset?
  /// How scales and offsets are chosen; nil for `search`.
  public var scheme: String?
  /// The stored type of scales and biases: F16, BF16 or F32; nil for F16.
  ///
  /// With a mode, nil stands for the type of each weight, as in MLX.
  public var parameters: ScalarType?
  /// How long the scheme searches for better numbers; only for schemes that search.
  public var effort: Effort?
  /// Choices by tensor name; the last matching rule applies.
  public var rules: [Rule] = []

  /// Creates a recipe for what is usual in the target format.
  public init() {}

  /// The bits of a code if nothing else determines them.
  public static let usualBits = 4

  /// Throws `usage` for settings that need a mix.
  func checkIsMixed() throws(ModelError) {
    let settings = [
      ("--pure", isPure), ("--output-type", outputType != nil),
      ("--embedding-type", embeddingType != nil),
    ]
    // Formats without blocks give all tensors one type anyway.
    guard let found = settings.first(where: { $0.1 && (type == nil || $0.0 != "--pure") }) else {
      return
    }
    throw ModelError(
      .usage, "\(found.0) changes a mix of llama.cpp, and there is none", expected: "--type",
      found: found.0, hint: "--rule chooses for tensors by name")
  }

  /// Throws `usage` for a type of scales that the blocks of a mix do not store.
  func checkParameters(of mix: Mix) throws(ModelError) {
    guard let parameters, parameters != .f16 else { return }
    throw ModelError(
      .usage, "the blocks of \(mix.name) store F16", expected: "--parameters F16",
      found: "--parameters \(parameters.name)", hint: "leave --parameters out")
  }

  /// Whether the recipe leaves the choice of the types to the target format.
  var isOpen: Bool {
    type == nil && mode == nil && bits == nil && group == nil && offset == nil && scheme == nil
  }

  /// Reads a recipe from a JSON file.
  ///
  /// Throws `io`, `malformed` for JSON that is not a recipe, and `usage` for invalid values.
  public init(reading path: String) throws(ModelError) {
    let file = try InputFile(FilePath(path))
    let document = try JSONParser.parse(
      try file.bytes(at: 0, count: file.byteCount), file: path)
    do throws(ModelError) { try self.init(document) } catch { throw error.located(file: path) }
  }

  /// Creates a recipe from its JSON.
  ///
  /// Throws `malformed` for unknown keys, `usage` for invalid values.
  public init(_ document: JSONValue) throws(ModelError) {
    guard let members = document.members else {
      throw ModelError(.malformed, "a recipe must be a JSON object", found: document.kind)
    }
    for member in members {
      switch member.key {
      case "type":
        let name = try member.value.required(\.string, "type", "a name")
        type = try Self.mixName(name)
        if let other = members.first(where: { ["bits", "groupSize", "offset"].contains($0.key) }) {
          throw Self.conflict("type", other.key)
        }
      case "mode":
        mode = try Self.mode(named: try member.value.required(\.string, "mode", "a name"))
      case "pure": isPure = try member.value.required(\.bool, "pure", "true or false")
      case "outputType":
        outputType = try Self.typeName(try member.value.required(\.string, "outputType", "a name"))
      case "embeddingType":
        embeddingType = try Self.typeName(
          try member.value.required(\.string, "embeddingType", "a name"))
      case "effort":
        effort = try Self.effort(named: try member.value.required(\.string, "effort", "a name"))
      case "bits": bits = try member.value.required(\.int, "bits", "a whole number")
      case "groupSize":
        group =
          if let count = member.value.int {
            .columns(count)
          } else {
            try GroupSize(
              text: try member.value.required(\.string, "groupSize", "a number or 'row'"))
          }
      case "offset":
        offset = try Self.offset(named: try member.value.required(\.string, "offset", "a name"))
      case "scheme": scheme = try member.value.required(\.string, "scheme", "a name")
      case "parameters":
        let name = try member.value.required(\.string, "parameters", "F16, BF16 or F32")
        parameters = try Self.floatType(named: name)
      case "rules":
        for rule in try member.value.required(\.array, "rules", "a list") {
          rules.append(try Self.rule(rule))
        }
      default:
        throw ModelError(
          .malformed, "unknown key '\(member.key)' in the recipe",
          expected: "type, pure, outputType, embeddingType, mode, bits, groupSize, offset, scheme, "
            + "effort, parameters, rules", found: member.key)
      }
    }
    try validate()
  }

  private static func rule(_ document: JSONValue) throws(ModelError) -> Rule {
    if let member = document.members?.first(where: { !["match", "to"].contains($0.key) }) {
      throw ModelError(
        .malformed, "unknown key '\(member.key)' in a rule", expected: "match, to",
        found: member.key)
    }
    return try Rule(
      pattern: try (document["match"] ?? .null).required(\.string, "match", "a pattern"),
      choiceText: try (document["to"] ?? .null).required(\.string, "to", "a rule"))
  }

  /// Throws `usage` if Pleat does not support a value.
  public func validate() throws(ModelError) {
    if let type { _ = try Mix.named(type) }
    for name in [outputType, embeddingType].compactMap({ $0 }) {
      _ = try Self.encoding(named: name)
    }
    if let bits, !Grouping.supportedBits.contains(bits) {
      throw ModelError(
        .usage, "unsupported number of bits", expected: Grouping.supportedBits.choices,
        found: "\(bits)")
    }
    if case .columns(let count)? = group, count < 1 {
      throw ModelError(
        .usage, "invalid group size", expected: "a positive number", found: "\(count)")
    }
    if let scheme { _ = try Schemes.named(scheme) }
    try checkMode()
  }

  /// The floating-point type with a name, for scales and biases or for decoded weights.
  ///
  /// The name is F16, BF16 or F32, in any case. Throws `usage` for other names.
  public static func floatType(named name: String) throws(ModelError) -> ScalarType {
    if let type = ScalarType(rawValue: name.uppercased()),
      Grouping.supportedParameters.contains(type)
    {
      return type
    }
    throw ModelError(
      .usage, "not a floating-point type that Pleat writes",
      expected: Grouping.supportedParameters.map(\.name).joined(separator: ", "), found: name)
  }

  /// The name of a mix as llama.cpp writes it, from the name in any case.
  ///
  /// Throws `usage` for an unknown name.
  public static func mixName(_ name: String) throws(ModelError) -> String {
    try Mix.named(name).name
  }

  /// llama.cpp's names of the mixes that `type` accepts.
  public static var mixNames: [String] { Mix.all.map(\.name) }

  /// The name of a block type as llama.cpp writes it, from the name in any case.
  ///
  /// Throws `usage` for an unknown name.
  public static func typeName(_ name: String) throws(ModelError) -> String {
    GGMLCodec.name(of: try encoding(named: name))
  }

  /// The encoding of a type of llama.cpp: groups if its blocks store groups.
  ///
  /// Throws `usage` for an unknown name.
  static func encoding(named name: String) throws(ModelError) -> Encoding {
    if let encoding = GGMLCodec.encoding(named: name) { return encoding }
    throw ModelError(
      .usage, "not a block type of llama.cpp that Pleat writes", expected: typeNames.choices,
      found: name, hint: "rules make plain numbers, such as --rule 'lm_head=F16'")
  }

  /// llama.cpp's names of the block types that rules accept.
  public static var typeNames: [String] { GGMLCodec.typeNames }

  /// The effort with a name.
  ///
  /// Throws `usage` for an unknown name.
  public static func effort(named name: String) throws(ModelError) -> Effort {
    if let effort = Effort(rawValue: name) { return effort }
    throw ModelError(
      .usage, "unknown effort", expected: Effort.allCases.map(\.rawValue).choices, found: name)
  }

  /// What a group stores besides its scale: `bias`, `zeropoint` or `none`, in any case.
  ///
  /// Throws `usage` for other names.
  public static func offset(named name: String) throws(ModelError) -> Grouping.Offset {
    let lowercase = name.lowercased()
    if let offset = Grouping.Offset.allCases.first(where: { $0.name == lowercase }) {
      return offset
    }
    throw ModelError(.usage, "unknown offset", expected: offsetNames.choices, found: name)
  }

  /// The names of what a group can store besides its scale.
  public static var offsetNames: [String] { Grouping.Offset.allCases.map(\.name) }

  /// The error for a type together with a setting that the type determines.
  public static func conflict(_ type: String, _ other: String) -> ModelError {
    ModelError(
      .usage, "\(type) already determines the bits, the group size and the offset",
      expected: "\(type) or \(other)", found: "both")
  }

  /// The names of all schemes.
  public static var schemeNames: [String] { Schemes.all.map { $0.name } }

  /// The names of all schemes, each with a short description in parentheses.
  public static var schemeSummaries: [String] { Schemes.all.map { "\($0.name) (\($0.summary))" } }

  /// The JSON that `init(_:)` reads.
  public var json: JSONValue {
    var members: [JSONValue.Member] = []
    if let type {
      members.append(.init("type", .string(type)))
      if isPure { members.append(.init("pure", true)) }
      if let outputType { members.append(.init("outputType", .string(outputType))) }
      if let embeddingType { members.append(.init("embeddingType", .string(embeddingType))) }
    } else {
      if let mode { members.append(.init("mode", .string(mode.name))) }
      if let bits { members.append(.init("bits", JSONValue(bits))) }
      switch group {
      case .columns(let count): members.append(.init("groupSize", JSONValue(count)))
      case .row: members.append(.init("groupSize", "row"))
      case nil: break
      }
    }
    if let offset { members.append(.init("offset", .string(offset.name))) }
    if let scheme { members.append(.init("scheme", .string(scheme))) }
    if let effort { members.append(.init("effort", .string(effort.rawValue))) }
    if let parameters { members.append(.init("parameters", .string(parameters.name))) }
    if !rules.isEmpty {
      members.append(
        .init(
          "rules",
          .array(
            rules.map { ["match": .string($0.pattern), "to": .string($0.choice.text)] })))
    }
    return .object(members)
  }
}

extension Grouping.Offset {
  /// The name in recipes and on the command line.
  fileprivate var name: String { rawValue.lowercased() }
}

extension JSONValue {
  fileprivate func required<Value>(
    _ value: KeyPath<JSONValue, Value?>, _ key: String, _ expected: String
  ) throws(ModelError) -> Value {
    if let found = self[keyPath: value] { return found }
    throw ModelError(
      .malformed, "the value of '\(key)' is not usable", expected: expected, found: kind)
  }
}
