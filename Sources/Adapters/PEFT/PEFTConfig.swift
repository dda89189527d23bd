internal import Bytes
internal import TensorModel

/// The settings in PEFT's `adapter_config.json` that decide how the tensors change a model.
struct PEFTConfig {
  private let document: JSONValue
  private let rank: Int
  private let alpha: Double
  private let rankPattern: [(pattern: PathPattern, value: Double)]
  private let alphaPattern: [(pattern: PathPattern, value: Double)]
  private let usesRSLoRA: Bool

  /// Whether the targeted layers store their weights transposed.
  let isTransposed: Bool
  /// Whether the magnitude of each row is trained, too.
  let usesDoRA: Bool
  /// The number of inputs that layers pool into one; nil if the config does not ask for pooling.
  let groupSize: Int?
  /// The adapted parameters that are not layers, such as stacked experts.
  let parameters: [String]

  /// Throws `malformed` for invalid values, `unsupported` for another method than LoRA.
  ///
  /// Patterns are also checked: `limit` if one is too long, `unsupported` for some of the syntax.
  init(_ document: JSONValue) throws(ModelError) {
    guard document.members != nil else {
      throw ModelError(
        .malformed, "adapter_config.json is missing", expected: "the file beside the tensors",
        hint: "only this file states alpha: copy it from where the adapter was trained")
    }
    let type = document["peft_type"]?.string ?? "LORA"
    guard type == "LORA" else {
      throw ModelError(
        .unsupported, "not a LoRA adapter", expected: "peft_type LORA", found: type)
    }
    self.document = document
    rank = try Self.count(document["r"], "r", default: 8)
    alpha = try Self.number(document["lora_alpha"], "lora_alpha", default: 8)
    rankPattern = try Self.patterns(document["rank_pattern"], "rank_pattern")
    alphaPattern = try Self.patterns(document["alpha_pattern"], "alpha_pattern")
    usesRSLoRA = document["use_rslora"]?.bool ?? false
    isTransposed = document["fan_in_fan_out"]?.bool ?? false
    usesDoRA = document["use_dora"]?.bool ?? false
    groupSize =
      document["use_qalora"]?.bool == true
      ? try Self.count(document["qalora_group_size"], "qalora_group_size", default: 16) : nil
    parameters = document["target_parameters"]?.array?.compactMap(\.string) ?? []
  }

  /// Whether a change of tied embeddings is one of the head, too.
  var tiesEmbeddings: Bool { document["ensure_weight_tying"]?.bool ?? false }

  /// How PEFT arranged the factors of square stacks of experts; nil if its version is unknown.
  var squareStacks: Orientation.SquareStacks? {
    let words = (document["peft_version"]?.string ?? "").split(separator: ".")
    let numbers = words.prefix(3).map { Int($0.prefix(while: \.isNumber)) ?? 0 }
    guard words.count >= 2 else { return nil }
    if numbers.lexicographicallyPrecedes([0, 19]) { return .transposed }
    return numbers.lexicographicallyPrecedes([0, 19, 1]) ? .reversed : .asInModel
  }

  /// Whether the adapter replaces rows of a table.
  var hasTrainedTokens: Bool { document["trainable_token_indices"].map { !$0.isNothing } ?? false }

  /// The rows of a table that the adapter replaces; nil if the config states none.
  ///
  /// They are stated for each table by name, or once for the embeddings.
  func tokenIndices(of path: String) -> [Int]? {
    let value = document["trainable_token_indices"]
    let list =
      value?.members.map { members in
        members.first { path == $0.key || path.hasSuffix("." + $0.key) }?.value.array ?? []
      } ?? value?.array
    let indices = (list ?? []).compactMap(\.int)
    return indices.isEmpty || indices.count != list?.count ? nil : indices
  }

  /// Whether the list `target_modules` has a module.
  func isTarget(_ path: String) -> Bool {
    (document["target_modules"]?.array ?? []).compactMap(\.string).contains { name in
      path == name || path.hasSuffix("." + name)
    }
  }

  /// The rank of a module: that of the first matching pattern, otherwise `r`.
  func rank(of module: String) throws(ModelError) -> Int {
    let value = Self.first(rankPattern, module) ?? Double(rank)
    guard let rank = Int(exactly: value), rank > 0 else {
      throw ModelError(
        .malformed, "the rank is invalid", tensor: module, expected: "a positive number",
        found: "\(value)")
    }
    return rank
  }

  /// The factor of a module's product: alpha / rank, or alpha / √rank with rsLoRA.
  func scale(of module: String) throws(ModelError) -> Double {
    let rank = Double(try rank(of: module))
    let alpha = Self.first(alphaPattern, module) ?? alpha
    return usesRSLoRA ? alpha / rank.squareRoot() : alpha / rank
  }

  /// The names in a list of the config that match no module or tensor of the adapter.
  func names(_ key: String, without paths: [String]) -> [String] {
    (document[key]?.array ?? []).compactMap(\.string).filter { name in
      // PEFT adds these by itself, whether or not the model has them.
      guard !["classifier", "score"].contains(name) else { return false }
      return !paths.contains { ".\($0).".contains(".\(name).") }
    }
  }

  // MARK: - Unsupported settings

  /// Adds all settings that change the meaning of the tensors and are not supported.
  func check(_ problems: inout Problems) {
    for member in document.members ?? [] where !member.value.isNothing {
      if let reason = Self.refused[member.key] {
        problems.add("\(member.key): \(reason)")
      } else if !Self.known.contains(member.key),
        member.key.hasPrefix("use_") || member.key.hasSuffix("_config")
      {
        problems.add("\(member.key): an unknown variant of LoRA")
      }
    }
    if let method = document["init_lora_weights"]?.string?.lowercased(),
      let name = Self.changingInitializations.first(where: { method.hasPrefix($0) })
    {
      problems.add(
        "init_lora_weights \(method): \(name) changed the base's weights; PEFT's save_pretrained "
          + "with path_initial_model_for_weight_conversion makes an adapter for the original base")
    }
    if usesDoRA && groupSize != nil {
      problems.add("use_dora with use_qalora: PEFT does not support both together")
    }
  }

  private static let refused = [
    "layer_replication": "layers that the base does not have",
    "alora_invocation_tokens": "an activated LoRA, which acts on some tokens only",
    "use_bdlora": "block-diagonal LoRA", "arrow_config": "Arrow, which routes between adapters",
    "kasa_config": "KaSA, whose factors are not a plain product",
    "velora_config": "VeLoRA", "monteclora_config": "MonteCLoRA",
    "megatron_config": "layers of Megatron, split over machines",
  ]

  private static let changingInitializations = ["pissa", "olora", "corda", "loftq", "lora_ga"]

  private static let known: Set<String> = [
    "use_rslora", "use_dora", "use_qalora", "loftq_config", "eva_config", "corda_config",
    "lora_ga_config", "runtime_config",
  ]

  // MARK: - Values

  private static func count(
    _ value: JSONValue?, _ key: String, default other: Int
  ) throws(ModelError) -> Int {
    guard let value, value != .null else { return other }
    if let count = value.int, count > 0 { return count }
    throw ModelError(
      .malformed, "the value of '\(key)' is not usable", expected: "a positive whole number",
      found: JSONWriter.text(value))
  }

  private static func number(
    _ value: JSONValue?, _ key: String, default other: Double
  ) throws(ModelError) -> Double {
    guard let value, value != .null else { return other }
    if let number = value.double, number.isFinite { return number }
    throw ModelError(
      .malformed, "the value of '\(key)' is not usable", expected: "a number",
      found: JSONWriter.text(value))
  }

  /// The patterns in file order.
  ///
  /// PEFT uses the first pattern that matches, as a regular expression, a module's whole path, or
  /// all of the path after one of its dots.
  private static func patterns(
    _ value: JSONValue?, _ key: String
  ) throws(ModelError) -> [(PathPattern, Double)] {
    var patterns: [(PathPattern, Double)] = []
    guard let value, value != .null else { return patterns }
    guard let members = value.members else {
      throw ModelError(
        .malformed, "the value of '\(key)' is not usable", expected: "an object of patterns",
        found: value.kind)
    }
    for member in members {
      let pattern: PathPattern
      do throws(ModelError) { pattern = try PathPattern(member.key) } catch {
        throw error.located(tensor: key)
      }
      guard let number = member.value.double, number.isFinite else {
        throw ModelError(
          .malformed, "the value of '\(key): \(member.key)' is not usable", expected: "a number",
          found: member.value.kind)
      }
      patterns.append((pattern, number))
    }
    return patterns
  }

  private static func first(
    _ patterns: [(pattern: PathPattern, value: Double)], _ module: String
  ) -> Double? {
    patterns.first { $0.pattern.matches(module) }?.value
  }
}

extension JSONValue {
  /// Whether the value turns a setting off: null, false, or empty.
  fileprivate var isNothing: Bool {
    switch self {
    case .null, .bool(false), .array([]), .object([]), .string(""): true
    default: false
    }
  }
}
