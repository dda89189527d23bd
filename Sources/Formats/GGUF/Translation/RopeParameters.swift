internal import Bytes
internal import TensorModel

/// How rotary embeddings are scaled, in any spelling of `config.json`.
struct RopeParameters {
  /// `rope_type`: how angles are scaled; nil when they are not.
  let type: String?
  /// `rope_theta`: the base of the angles; nil when the config leaves it to the architecture.
  let base: Double?
  /// The base of layers that see a window; nil where all have one.
  let slidingBase: Double?
  private let values: JSONValue
  private let config: JSONValue

  /// The parameters of a config, which has them in an object of their own, one for each kind of
  /// layer, or beside its other values.
  init(_ config: JSONValue) throws(ModelError) {
    self.config = config
    let all = config["rope_parameters"] ?? config["rope_scaling"] ?? .null
    guard all == .null || all.members != nil else {
      throw Hyperparameters.fault("rope_parameters", "an object", all)
    }
    values = all["full_attention"] ?? all
    type = (values["rope_type"] ?? values["type"])?.string
    base = (values["rope_theta"] ?? config["rope_theta"])?.double
    slidingBase =
      (all["sliding_attention"]?["rope_theta"] ?? config["rope_local_base_freq"])?.double
  }

  /// The positions that the model was trained on before they were stretched.
  var originalPositionCount: Int? {
    (values["original_max_position_embeddings"] ?? config["original_max_position_embeddings"])?.int
  }

  /// The numbers of a head that are rotated.
  ///
  /// Throws `malformed` when there are fewer than none, or more than the head has.
  func rotatedCount(headSize: Int) throws(ModelError) -> Int {
    let key = "partial_rotary_factor"
    guard let value = values[key] ?? config[key], let part = value.double else { return headSize }
    guard (0...1).contains(part) else { throw Hyperparameters.fault(key, "0 to 1", value) }
    return Int(part * Double(headSize))
  }

  /// Adds what llama.cpp reads from metadata.
  ///
  /// Throws `unsupported` for a scaling that it does not do, `malformed` for one without its factor.
  func write(to parameters: inout Hyperparameters) throws(ModelError) {
    switch type?.lowercased() {
    case nil, "default", "llama3", "dynamic", "su", "longrope": break
    case "linear":
      parameters.write("rope.scaling.type", "linear")
      parameters.write("rope.scaling.factor", try number("factor"))
    case "yarn": try writeYarn(to: &parameters)
    case let other?:
      throw ModelError(
        .unsupported, "llama.cpp does not scale rotary embeddings so",
        expected: "linear, yarn, llama3, longrope, or none", found: other)
    }
    if let base { parameters.write("rope.freq_base", base) }
    if let slidingBase { parameters.write("rope.freq_base_swa", slidingBase) }
  }

  private func writeYarn(to parameters: inout Hyperparameters) throws(ModelError) {
    parameters.write("rope.scaling.type", "yarn")
    parameters.write("rope.scaling.factor", try number("factor"))
    guard let count = originalPositionCount else {
      throw Hyperparameters.fault("original_max_position_embeddings", "a whole number", nil)
    }
    parameters.write("rope.scaling.original_context_length", count)
    let optional = [
      ("extrapolation_factor", "yarn_ext_factor"), ("attention_factor", "yarn_attn_factor"),
      ("beta_fast", "yarn_beta_fast"), ("beta_slow", "yarn_beta_slow"),
    ]
    for (key, name) in optional {
      if let value = values[key]?.double { parameters.write("rope.scaling.\(name)", value) }
    }
  }

  private func number(_ key: String, or fallback: Double? = nil) throws(ModelError) -> Double {
    if let number = values[key]?.double ?? fallback, number.isFinite, number > 0 { return number }
    throw Hyperparameters.fault(key, "a number above 0", values[key])
  }

  /// What llama.cpp divides the angle of each pair of numbers in a head by, as Llama 3.1 scales them;
  /// nil for models that do not.
  ///
  /// Long waves are stretched by `factor`, short ones are left alone, those between are in between;
  /// from `_compute_llama3_parameters` of transformers, in float32 as there.
  func llama3Factors(headSize: Int) throws(ModelError) -> [Float]? {
    guard type?.lowercased() == "llama3" else { return nil }
    let factor = Float(try number("factor", or: 8))
    let low = Float(try number("low_freq_factor", or: 1))
    let high = Float(try number("high_freq_factor", or: 4))
    let positions = Float(originalPositionCount ?? 8192)
    guard high > low else {
      throw Hyperparameters.fault("high_freq_factor", "more than low_freq_factor", values)
    }
    return stride(from: 0, to: headSize, by: 2).map { index in
      let angle = 1 / Platform.power(Float(base ?? 10000), Float(index) / Float(headSize))
      let wave = 2 * Float.pi / angle
      if wave < positions / high { return 1 }
      if wave > positions / low { return factor }
      let smooth = (positions / wave - low) / (high - low)
      return 1 / ((1 - smooth) / factor + smooth)
    }
  }

  /// Factors for long and for short contexts, one for each pair of numbers in a head, of Phi 3;
  /// nil for models that have none.
  ///
  /// Throws `malformed` when there are more or fewer than pairs.
  func longFactors(pairCount: Int) throws(ModelError) -> (long: [Float], short: [Float])? {
    guard values["long_factor"] != nil || values["short_factor"] != nil else { return nil }
    func factors(_ key: String) throws(ModelError) -> [Float] {
      let found = (values[key]?.array ?? []).compactMap(\.double)
      if found.count == pairCount { return found.map { Float($0) } }
      throw Hyperparameters.fault(key, "\(pairCount) numbers", values[key])
    }
    return (try factors("long_factor"), try factors("short_factor"))
  }

  /// What attention is multiplied with where positions are stretched by a factor, as Phi 3 does.
  ///
  /// Throws `unsupported` for another kind of scaling.
  func attentionFactor(stretch: Double, originalCount: Int) throws(ModelError) -> Double {
    guard stretch > 1 else { return 1 }
    switch type?.lowercased() {
    case "su", "longrope":
      return (1 + Platform.logarithm(stretch) / Platform.logarithm(Double(originalCount)))
        .squareRoot()
    case "yarn": return 0.1 * Platform.logarithm(stretch) + 1
    default:
      throw ModelError(
        .unsupported, "phi3 does not scale rotary embeddings so", expected: "longrope, su or yarn",
        found: type ?? "nothing")
    }
  }
}
