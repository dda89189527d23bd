package import Bytes
internal import TensorModel

/// Typed access to the values of a `config.json`.
struct ConfigValues {
  let config: JSONValue

  /// Access to the values of a config as they are.
  init(config: JSONValue) { self.config = config }

  /// Access to the values of a config, with the defaults of an architecture.
  init(_ config: JSONValue, _ architecture: Architecture) {
    self.config = architecture.derivedValues(
      architecture.defaults.overridden(by: config.withoutNulls))
  }

  /// A value; nil if the config lacks it or states null.
  subscript(key: String) -> JSONValue? { config[key].flatMap { $0 == .null ? nil : $0 } }

  /// A whole number above zero; nil if the config lacks it.
  ///
  /// Throws `malformed` for another value, and `unsupported` for a list with one for each layer.
  func count(_ key: String) throws(ModelError) -> Int? {
    guard let value = self[key] else { return nil }
    guard value.array == nil else {
      throw ModelError(
        .unsupported, "one value is needed for all layers", tensor: key,
        expected: "a whole number above 0", found: "a list")
    }
    guard let count = value.int, count > 0, count <= Int(UInt32.max) else {
      throw Self.fault(key, "a whole number above 0", value)
    }
    return count
  }

  /// The values with the number of all layers in place of a list of equal ones, for experts.
  func withoutEqualLists(_ keys: ExpertKeys) -> ConfigValues {
    let keys = keys.counts + [keys.usedCount, keys.width, keys.sharedCount].compactMap { $0 }
    return ConfigValues(
      config: keys.reduce(config) { config, key in
        guard let list = config[key]?.array, let first = list.first,
          list.allSatisfy({ $0 == first })
        else { return config }
        return config.setting(key, to: first)
      })
  }

  /// A whole number, also zero; nil if the config lacks it.
  ///
  /// Throws `malformed` for another value.
  func wholeNumber(_ key: String) throws(ModelError) -> Int? {
    self[key] == 0 ? 0 : try count(key)
  }

  /// A whole number above zero, also as a list with the same one for each layer.
  ///
  /// Throws what `count(_:)` throws.
  func equalCount(_ key: String) throws(ModelError) -> Int? {
    guard let list = self[key]?.array, let first = list.first,
      list.allSatisfy({ $0 == first })
    else { return try count(key) }
    return try ConfigValues(config: .object([.init(key, first)])).count(key)
  }

  /// A whole number above zero.
  ///
  /// Throws `malformed` if the config lacks it or states another value.
  func required(_ key: String) throws(ModelError) -> Int {
    if let count = try count(key) { return count }
    throw Self.fault(key, "a whole number above 0", nil)
  }

  /// A whole number above zero that is small enough to be multiplied with others.
  ///
  /// Throws `malformed` if the config lacks it or states another value, and `limit` if it is too
  /// large.
  func extent(_ key: String) throws(ModelError) -> Int {
    let count = try required(key)
    try ModelSizes.check(count, atMost: 1 << 20, "rows", key)
    return count
  }

  /// Whether a key is true; false if the config lacks it.
  ///
  /// Throws `malformed` for another value.
  func flag(_ key: String) throws(ModelError) -> Bool {
    guard let value = self[key] else { return false }
    if let flag = value.bool { return flag }
    throw Self.fault(key, "true or false", value)
  }

  /// A number; nil if the config lacks it.
  ///
  /// Throws `malformed` for another value.
  func number(_ key: String) throws(ModelError) -> Double? {
    guard let value = self[key] else { return nil }
    guard let number = value.double, number.isFinite else {
      throw Self.fault(key, "a number", value)
    }
    return number
  }

  /// A number above zero.
  ///
  /// Throws `malformed` if the config lacks it or states another value.
  func positive(_ key: String) throws(ModelError) -> Double {
    if let number = try number(key), number > 0 { return number }
    throw Self.fault(key, "a number above 0", self[key])
  }

  /// Whether each layer has sliding attention; nil if it is as usual.
  ///
  /// Throws `malformed` for an invalid list, and `unsupported` for other kinds of attention.
  func slidingLayers(_ usual: [Bool]) throws(ModelError) -> [Bool]? {
    let layerCount = usual.count
    var layers = usual
    if let list = self["layer_types"] {
      let types = list.array ?? []
      guard types.count == layerCount else {
        throw Self.fault("layer_types", "a list of \(layerCount) texts", list)
      }
      for (index, type) in types.enumerated() {
        guard let type = type.string, ["sliding_attention", "full_attention"].contains(type) else {
          throw ModelError(
            .unsupported, "llama.cpp has no such layers in this architecture",
            tensor: "layer_types", expected: "sliding_attention or full_attention",
            found: JSONWriter.text(type))
        }
        layers[index] = type == "sliding_attention"
      }
    } else if let stated = try count("sliding_window_pattern") {
      layers = (1...layerCount).map { $0 % stated != 0 }
    } else if let stated = try count("global_attn_every_n_layers") {
      layers = (0..<layerCount).map { $0 % stated != 0 }
    }
    return layers == usual ? nil : layers
  }

  /// The kind of each layer, by the list `layer_types` with one of these words for each.
  ///
  /// Empty without words. Throws `malformed` without a valid list, and `unsupported` for other words.
  func layerKinds(
    _ words: [(word: String, kind: LayerKind)], _ layerCount: Int
  ) throws(ModelError) -> [LayerKind] {
    guard !words.isEmpty else { return [] }
    let list = self["layer_types"]
    let types = list?.array?.map(\.string) ?? []
    guard types.count == layerCount else {
      throw Self.fault("layer_types", "a list of \(layerCount) texts", list)
    }
    var kinds: [LayerKind] = []
    for type in types {
      guard let known = words.first(where: { $0.word == type }) else {
        throw ModelError(
          .unsupported, "llama.cpp has no such layers in this architecture",
          tensor: "layer_types", expected: words.map(\.word).joined(separator: " or "),
          found: type ?? "no text")
      }
      kinds.append(known.kind)
    }
    return kinds
  }

  /// The number of first layers without experts, by a list with the kind of each layer.
  ///
  /// Nil if the config lacks the list. Throws `malformed` for a list of another length, and
  /// `unsupported` for a layer of another kind, or one without experts after one with experts.
  func leadingDenseCount(_ key: String) throws(ModelError) -> Int? {
    guard let list = self[key] else { return nil }
    let (kinds, layerCount) = (list.array ?? [], try required("num_hidden_layers"))
    guard kinds.count == layerCount else {
      throw Self.fault(key, "a list of \(layerCount) texts", list)
    }
    let count = kinds.prefix { $0 == "dense" }.count
    if let other = kinds.dropFirst(count).first(where: { $0 != "sparse" }) {
      throw ModelError(
        .unsupported, "llama.cpp has no such layers in this architecture", tensor: key,
        expected: "dense for the first layers, sparse for the others",
        found: "\(JSONWriter.text(other)) after \(count) dense layers")
    }
    return count
  }

  /// The error for a value that is missing or invalid.
  static func fault(_ key: String, _ expected: String, _ value: JSONValue?) -> ModelError {
    ModelError(
      .malformed, "config.json has no valid value for a required key", tensor: key,
      expected: expected, found: value.map { JSONWriter.text($0) } ?? "nothing")
  }
}

extension JSONValue {
  /// The members of this object and of `text`; those of `text` take precedence.
  package func overridden(by text: JSONValue) -> JSONValue {
    let own = text.members ?? []
    let keys = Set(own.map { ExactName($0.key) })
    return .object(own + (members ?? []).filter { !keys.contains(ExactName($0.key)) })
  }

  /// The object without members that are null.
  var withoutNulls: JSONValue { .object((members ?? []).filter { $0.value != .null }) }
}

extension JSONValue {
  /// The object with `layer_types`, if it lacks that list: with the word that a layer has by its
  /// number, from 0.
  ///
  /// Without a number of layers that models can have, the object is unchanged.
  func listingLayers(_ word: (Int) -> String) -> JSONValue {
    guard self["layer_types"] == nil, let count = self["num_hidden_layers"]?.int,
      1...ModelSizes.layerLimit ~= count
    else { return self }
    return setting("layer_types", to: .array((0..<count).map { .string(word($0)) }))
  }

  /// The object with a value for a key: in place of the old one, or else at the end.
  package func setting(_ key: String, to value: JSONValue) -> JSONValue {
    var members = members ?? []
    if let index = members.firstIndex(where: { $0.key.hasSameBytes(as: key) }) {
      members[index].value = value
    } else {
      members.append(Member(key, value))
    }
    return .object(members)
  }
}
