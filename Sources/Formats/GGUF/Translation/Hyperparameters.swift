internal import Bytes
internal import TensorModel

/// What llama.cpp has to know of a model beside its tensors: read from `config.json`, written as
/// metadata of GGUF.
package struct Hyperparameters {
  /// The config of the text model.
  let config: JSONValue
  /// Rotary embeddings.
  let rope: RopeParameters
  /// Token embeddings of the model.
  let tokenCount: Int
  /// What was written so far.
  private(set) var metadata = Metadata()

  private let prefix: String

  /// The hyperparameters of an architecture.
  ///
  /// Throws `malformed` for values that cannot be.
  init(_ config: JSONValue, _ architecture: Architecture, tokenCount: Int) throws(ModelError) {
    self.config = config
    self.tokenCount = tokenCount
    prefix = architecture.ggufName
    rope = try RopeParameters(config)
  }

  // MARK: - Reading

  /// A whole number above zero; nil when the config does not have it.
  ///
  /// Throws `malformed` for another value.
  func count(_ key: String) throws(ModelError) -> Int? {
    guard let value = config[key], value != .null else { return nil }
    guard let count = value.int, count > 0, count <= Int(UInt32.max) else {
      throw Self.fault(key, "a whole number above 0", value)
    }
    return count
  }

  /// A whole number above zero.
  ///
  /// Throws `malformed` when the config does not have it.
  func required(_ key: String) throws(ModelError) -> Int {
    if let count = try count(key) { return count }
    throw Self.fault(key, "a whole number above 0", nil)
  }

  /// A number; nil when the config does not have it.
  ///
  /// Throws `malformed` for another value.
  func number(_ key: String) throws(ModelError) -> Double? {
    guard let value = config[key], value != .null else { return nil }
    guard let number = value.double, number.isFinite else {
      throw Self.fault(key, "a number", value)
    }
    return number
  }

  // Tables of rotary embeddings have a number for each pair of rows.
  private static let headSizeLimit = 1 << 16

  /// The rows of a head: `head_dim`, or else what is left of the width for each.
  ///
  /// Throws `malformed`, and `limit` for more than any model has.
  func headSize() throws(ModelError) -> Int {
    let size: Int
    if let stated = try count("head_dim") {
      size = stated
    } else {
      size = try required("hidden_size") / required("num_attention_heads")
    }
    guard size <= Self.headSizeLimit else {
      throw ModelError(
        .limit, "the heads are too large", expected: "at most \(Self.headSizeLimit) rows",
        found: "\(size)")
    }
    return size
  }

  static func fault(_ key: String, _ expected: String, _ value: JSONValue?) -> ModelError {
    ModelError(
      .malformed, "config.json does not say what the model is like", tensor: key,
      expected: expected, found: value.map { JSONWriter.text($0) } ?? "nothing")
  }

  // MARK: - Writing

  /// Adds a whole number under a key of the architecture.
  mutating func write(_ key: String, _ count: Int) {
    metadata["\(prefix).\(key)"] = .u32(UInt32(clamping: count))
  }

  /// Adds a number under a key of the architecture, as float32.
  mutating func write(_ key: String, _ number: Double) {
    metadata["\(prefix).\(key)"] = .float(Float(number))
  }

  /// Adds a text under a key of the architecture.
  mutating func write(_ key: String, _ text: String) {
    metadata["\(prefix).\(key)"] = .text(text)
  }

  /// Adds what all architectures have.
  ///
  /// Throws `malformed` for a config without it, `unsupported` for a scaling of rotary embeddings
  /// that llama.cpp does not do.
  mutating func writeCommon() throws(ModelError) {
    write("block_count", try required("num_hidden_layers"))
    write("context_length", try required("max_position_embeddings"))
    write("embedding_length", try required("hidden_size"))
    write("feed_forward_length", try required("intermediate_size"))
    let heads = try required("num_attention_heads")
    write("attention.head_count", heads)
    write("attention.head_count_kv", try count("num_key_value_heads") ?? heads)
    guard let epsilon = try number("rms_norm_eps") else {
      throw Self.fault("rms_norm_eps", "a number", nil)
    }
    write("attention.layer_norm_rms_epsilon", epsilon)
    try rope.write(to: &self)
    if let size = try count("head_dim") { writeHeadSize(size) }
  }

  /// Adds the size of a head, of keys and of values.
  mutating func writeHeadSize(_ size: Int) {
    write("attention.key_length", size)
    write("attention.value_length", size)
  }

  /// Adds what the architecture called llama has in addition.
  ///
  /// Throws `malformed`.
  mutating func writeLlama() throws(ModelError) {
    write("vocab_size", try count("vocab_size") ?? tokenCount)
    write("rope.dimension_count", try headSize())
  }
}
