internal import Bytes
internal import TensorModel

/// The rotary embeddings of a config, as transformers reads them.
///
/// Values in the object of the parameters take precedence over those beside it.
struct MLXRope {
  /// The config of the text model.
  private let config: JSONValue
  /// The parameters of layers that see the whole context.
  private let parameters: JSONValue?
  /// The parameters of layers with sliding attention; nil if all layers have the same.
  let sliding: JSONValue?

  /// Reads the rotary embeddings of a text model.
  init(_ config: JSONValue) {
    self.config = config
    // mlx-lm reads those of Gemma 4 as transformers writes them, and transformers takes other keys
    // for parameters that lack a base.
    let isRead = config["model_type"]?.string?.hasPrefix("gemma4") ?? false
    let all = isRead ? .null : RopeParameters.object(in: config).value
    sliding = all["sliding_attention"]
    parameters = all["full_attention"] ?? (all.members == nil ? nil : all)
  }

  /// The base of the angles; nil if it is not among the parameters.
  var base: JSONValue? { parameters?["rope_theta"] }

  /// The part of a head that is rotated; nil if it is not among the parameters.
  var rotatedPart: JSONValue? { parameters?["partial_rotary_factor"] }

  /// `rope_scaling` with the keys that mlx-lm needs; nil if nothing is scaled.
  var scaling: JSONValue? {
    guard let parameters, let type, type != "default" else { return nil }
    let others = (parameters.members ?? []).filter {
      !["rope_theta", "partial_rotary_factor", "type"].contains($0.key)
    }
    var scaling = JSONValue.object([.init("type", .string(type))] + others)
    let key = "original_max_position_embeddings"
    if ["yarn", "llama3", "longrope"].contains(type), (scaling[key] ?? .null) == .null,
      let length = config[key] ?? config["max_position_embeddings"]
    {
      scaling = scaling.setting(key, to: length)
    }
    return scaling
  }

  /// How angles are scaled, under the name that mlx-lm has for it.
  private var type: String? {
    let stated = (parameters?["rope_type"] ?? parameters?["type"])?.string
    // Phi 3 has only this kind of scaling, which was called yarn and su before.
    let isPhi = config["model_type"] == "phi3" && stated == "yarn"
    return isPhi || stated == "su" ? "longrope" : stated
  }
}
