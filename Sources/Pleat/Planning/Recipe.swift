public import Bytes
internal import Formats
internal import Quantization
internal import SystemPackage
public import TensorModel
internal import Weights

/// The user's settings for quantization; see `formats/recipe.md` for its JSON.
public struct Recipe: Sendable, Hashable {
  /// llama.cpp's name of a block type, such as `Q4_0`; nil without one.
  ///
  /// It determines the bits, the group size, and whether groups have biases.
  public var type: String?
  /// The bits of a code.
  public var bits = 4
  /// The columns that share a scale; nil for the usual group of the target format.
  public var group: GroupSize?
  /// How scales and offsets are chosen; nil for the first scheme that the format can store.
  public var scheme: String?
  /// The stored type of scales and biases: F16, BF16 or F32.
  public var parameters = ScalarType.f16
  /// Choices by tensor name; the last matching rule applies.
  public var rules: [Rule] = []

  /// Creates a recipe for 4 bits in the usual groups of the target format.
  public init() {}

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
        type = try Self.typeName(name)
        if let other = members.first(where: { ["bits", "groupSize"].contains($0.key) }) {
          throw Self.conflict("type", other.key)
        }
      case "bits": bits = try member.value.required(\.int, "bits", "a whole number")
      case "groupSize":
        group =
          if let count = member.value.int {
            .columns(count)
          } else {
            try GroupSize(
              text: try member.value.required(\.string, "groupSize", "a number or 'row'"))
          }
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
          expected: "type, bits, groupSize, scheme, parameters, rules", found: member.key)
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
    if let type { _ = try Self.blocks(named: type) }
    guard Grouping.supportedBits.contains(bits) else {
      throw ModelError(
        .usage, "unsupported number of bits", expected: Grouping.supportedBits.choices,
        found: "\(bits)")
    }
    if case .columns(let count)? = group, count < 1 {
      throw ModelError(
        .usage, "invalid group size", expected: "a positive number", found: "\(count)")
    }
    if let scheme { _ = try Schemes.named(scheme) }
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

  /// The name of a block type as llama.cpp writes it, from the name in any case.
  ///
  /// Throws `usage` for an unknown name.
  public static func typeName(_ name: String) throws(ModelError) -> String {
    GGMLCodec.name(of: try blocks(named: name))
  }

  /// The groups of a block type of llama.cpp.
  ///
  /// Throws `usage` for an unknown name.
  static func blocks(named name: String) throws(ModelError) -> Grouping {
    if let grouping = GGMLCodec.grouping(named: name) { return grouping }
    throw ModelError(
      .usage, "not a llama.cpp type that Pleat writes", expected: typeNames.choices, found: name)
  }

  /// llama.cpp's names of the block types that `type` accepts.
  public static var typeNames: [String] { GGMLCodec.typeNames }

  /// The error for a type together with a setting that the type determines.
  public static func conflict(_ type: String, _ other: String) -> ModelError {
    ModelError(
      .usage, "\(type) already determines the bits and the group size",
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
    } else {
      members.append(.init("bits", JSONValue(bits)))
      switch group {
      case .columns(let count): members.append(.init("groupSize", JSONValue(count)))
      case .row: members.append(.init("groupSize", "row"))
      case nil: break
      }
    }
    if let scheme { members.append(.init("scheme", .string(scheme))) }
    members.append(.init("parameters", .string(parameters.name)))
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

extension JSONValue {
  fileprivate func required<Value>(
    _ value: KeyPath<JSONValue, Value?>, _ key: String, _ expected: String
  ) throws(ModelError) -> Value {
    if let found = self[keyPath: value] { return found }
    throw ModelError(
      .malformed, "the value of '\(key)' is not usable", expected: expected, found: kind)
  }
}
