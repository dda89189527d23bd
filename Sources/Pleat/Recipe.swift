public import Bytes
internal import Formats
internal import Quantization
internal import SystemPackage
public import TensorModel

/// What a user wants of quantization; see `formats/recipe.md` for its JSON.
public struct Recipe: Sendable, Hashable {
  /// llama.cpp's name of the blocks whose groups the weights get, such as `Q4_0`: it decides about
  /// the bits, the group and whether there are biases.
  public var type: String?
  /// Bits of a code.
  public var bits = 4
  /// Columns that share a scale: nil for what users of the target format expect.
  public var group: GroupSize?
  /// How scales and offsets are chosen: nil for the first scheme that the format can hold.
  public var scheme: String?
  /// The stored type of scales and biases: F16, BF16 or F32.
  public var parameters = ScalarType.f16
  /// Choices by name; the last that fits wins.
  public var rules: [Rule] = []

  /// 4 bits in the target's usual groups.
  public init() {}

  /// Reads a recipe.
  ///
  /// Throws `io`, `malformed`, and `usage` for values that make no sense.
  public init(reading path: String) throws(ModelError) {
    let file = try InputFile(FilePath(path))
    let document = try JSONParser.parse(
      try file.bytes(at: 0, count: file.byteCount), file: path)
    do throws(ModelError) { try self.init(document) } catch { throw error.located(file: path) }
  }

  /// A recipe from its JSON.
  ///
  /// Throws `malformed` for unknown keys, `usage` for bad values.
  public init(_ document: JSONValue) throws(ModelError) {
    guard let members = document.members else {
      throw ModelError(.malformed, "a recipe is an object", found: document.kind)
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
          .malformed, "a recipe has no key '\(member.key)'",
          expected: "type, bits, groupSize, scheme, parameters, rules", found: member.key)
      }
    }
    try validate()
  }

  private static func rule(_ document: JSONValue) throws(ModelError) -> Rule {
    if let member = document.members?.first(where: { !["match", "to"].contains($0.key) }) {
      throw ModelError(
        .malformed, "a rule has no key '\(member.key)'", expected: "match, to", found: member.key)
    }
    return try Rule(
      pattern: try (document["match"] ?? .null).required(\.string, "match", "a pattern"),
      choiceText: try (document["to"] ?? .null).required(\.string, "to", "a rule"))
  }

  /// Throws `usage` when a value is outside what Pleat does.
  public func validate() throws(ModelError) {
    if let type { _ = try Self.blocks(named: type) }
    guard Grouping.supportedBits.contains(bits) else {
      throw ModelError(
        .usage, "not a code width", expected: Grouping.supportedBits.choices, found: "\(bits)")
    }
    if case .columns(let count)? = group, count < 1 {
      throw ModelError(.usage, "not a group size", expected: "a positive number", found: "\(count)")
    }
    if let scheme { _ = try Schemes.named(scheme) }
  }

  /// The type of a name, for scales and biases or for decoded weights: F16, BF16 or F32.
  ///
  /// Throws `usage`.
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

  /// A name of blocks of llama.cpp as it is written there.
  ///
  /// Throws `usage`.
  public static func typeName(_ name: String) throws(ModelError) -> String {
    GGMLSpelling.name(of: try blocks(named: name))
  }

  /// The groups of blocks of llama.cpp.
  ///
  /// Throws `usage`.
  static func blocks(named name: String) throws(ModelError) -> Grouping {
    if let grouping = GGMLSpelling.grouping(named: name) { return grouping }
    throw ModelError(
      .usage, "not a type of llama.cpp that Pleat makes", expected: typeNames.choices, found: name)
  }

  /// llama.cpp's names of the blocks that `type` can name.
  public static var typeNames: [String] { GGMLSpelling.typeNames }

  /// The error of asking for a type and for what it decides.
  public static func conflict(_ type: String, _ other: String) -> ModelError {
    ModelError(
      .usage, "\(type) decides about the bits and the groups", expected: "\(type) or \(other)",
      found: "both")
  }

  /// The names of all schemes.
  public static var schemeNames: [String] { Schemes.all.map { $0.name } }

  /// The names of all schemes, each with what it does in brackets.
  public static var schemeSummaries: [String] { Schemes.all.map { "\($0.name) (\($0.summary))" } }

  /// The JSON that `init(_:)` reads, with every choice spelled out.
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
