internal import Bytes

extension Architecture {
  /// DeepSeek 3 and Kimi K2.
  static let deepSeekV3 = latent(
    ["deepseek_v3", "kimi_k2"], className: "DeepseekV3ForCausalLM", hasSigmoidRouter: true,
    limits: [ConfigLimit("rope_interleave", only: [true])])
}
