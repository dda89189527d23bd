import Architectures
import Bytes
import TensorModel
import Testing

/// The names that tensors get in mlx-lm.
///
/// They were compared with what mlx-lm 0.32.2 loads for a small model of each of these types.
@Suite struct MLXNamesTests {
  /// A model type, a name of Hugging Face, the names in mlx-lm, and the number of the expert.
  struct Row: Sendable, CustomTestStringConvertible {
    var type: String
    var name: String
    var expected: [String]
    var expert: Int?

    init(_ type: String, _ name: String, _ expected: String..., expert: Int? = nil) {
      (self.type, self.name, self.expected, self.expert) = (type, name, expected, expert)
    }

    var testDescription: String { "\(type) \(name)" }
  }

  private static let layer = "model.layers.31"

  static let rows = [
    Row(
      "qwen3_moe", "\(layer).mlp.experts.127.up_proj.weight",
      "\(layer).mlp.switch_mlp.up_proj.weight", expert: 127),
    Row(
      "deepseek_v3", "\(layer).mlp.experts.0.down_proj.weight",
      "\(layer).mlp.switch_mlp.down_proj.weight", expert: 0),
    Row("deepseek_v3", "\(layer).mlp.down_proj.weight", "\(layer).mlp.down_proj.weight"),
    Row(
      "dots1", "\(layer).mlp.experts.5.gate_proj.weight",
      "\(layer).mlp.experts.gate_proj.weight", expert: 5),
    Row("dots1", "\(layer).mlp.experts.gate_proj.weight", "\(layer).mlp.experts.gate_proj.weight"),
    Row("afmoe", "\(layer).mlp.experts.down_proj", "\(layer).mlp.experts.down_proj.weight"),
    Row(
      "mixtral", "\(layer).block_sparse_moe.experts.3.w2.weight",
      "\(layer).block_sparse_moe.switch_mlp.down_proj.weight", expert: 3),
    Row(
      "mixtral", "\(layer).mlp.experts.gate_up_proj",
      "\(layer).block_sparse_moe.switch_mlp.gate_proj.weight",
      "\(layer).block_sparse_moe.switch_mlp.up_proj.weight"),
    Row("mixtral", "\(layer).mlp.gate.weight", "\(layer).block_sparse_moe.gate.weight"),
    Row("phimoe", "\(layer).mlp.router.weight", "\(layer).block_sparse_moe.gate.weight"),
    Row(
      "minimax_m2", "\(layer).mlp.e_score_correction_bias",
      "\(layer).block_sparse_moe.e_score_correction_bias"),
    Row(
      "lfm2_moe", "\(layer).feed_forward.experts.2.w3.weight",
      "\(layer).feed_forward.switch_mlp.up_proj.weight", expert: 2),
    Row(
      "lfm2_moe", "\(layer).feed_forward.w1.weight", "\(layer).feed_forward.gate_proj.weight"),
    Row(
      "kimi_linear", "\(layer).block_sparse_moe.experts.9.w1.weight",
      "\(layer).mlp.switch_mlp.gate_proj.weight", expert: 9),
    Row(
      "nemotron_h", "backbone.layers.4.mixer.experts.6.up_proj.weight",
      "backbone.layers.4.mixer.switch_mlp.fc1.weight", expert: 6),
    Row(
      "nemotron_h", "model.layers.4.mixer.experts.down_proj",
      "backbone.layers.4.mixer.switch_mlp.fc2.weight"),
    Row(
      "granitemoe", "\(layer).block_sparse_moe.input_linear.weight",
      "\(layer).block_sparse_moe.switch_mlp.gate_proj.weight",
      "\(layer).block_sparse_moe.switch_mlp.up_proj.weight"),
    Row(
      "gemma4", "model.language_model.layers.0.experts.down_proj",
      "model.language_model.layers.0.experts.switch_glu.down_proj.weight"),
    Row(
      "phixtral", "transformer.h.1.moe.mlp.2.fc1.bias", "transformer.h.1.moe.switch_mlp.fc1.bias",
      expert: 2),
    Row(
      "gemma3", "model.language_model.layers.0.mlp.up_proj.weight",
      "language_model.model.layers.0.mlp.up_proj.weight"),
    Row(
      "qwen3_5", "model.language_model.layers.0.mlp.up_proj.weight",
      "language_model.model.layers.0.mlp.up_proj.weight"),
    Row("qwen3_5_text", "\(layer).linear_attn.A_log", "language_model.\(layer).linear_attn.A_log"),
    Row("qwen3_5", "model.visual.blocks.0.norm1.weight", "model.visual.blocks.0.norm1.weight"),
    Row(
      "qwen3_5_moe_text", "\(layer).mlp.experts.gate_up_proj",
      "language_model.\(layer).mlp.switch_mlp.gate_proj.weight",
      "language_model.\(layer).mlp.switch_mlp.up_proj.weight"),
    // Neither an expert's number nor a word of the table may be part of a word.
    Row(
      "qwen3_moe", "\(layer).mlp.experts.07.up_proj.weight",
      "\(layer).mlp.experts.07.up_proj.weight"),
    Row("qwen3_moe", "\(layer).mlps.experts.7.up_proj", "\(layer).mlps.experts.7.up_proj"),
    Row("llama", "\(layer).mlp.experts.7.up_proj.weight", "\(layer).mlp.experts.7.up_proj.weight"),
  ]

  @Test("a name of Hugging Face becomes that of mlx-lm", arguments: rows)
  func names(row: Row) {
    let names = MLXNames.forConfig(["model_type": .string(row.type), "num_experts": 128])
    let found = names.renamed(row.name)
    #expect(found.names == row.expected)
    #expect(found.expert == row.expert)
  }

  @Test("names of mlx-lm stay the same", arguments: rows) func idempotent(row: Row) {
    let names = MLXNames.forConfig(["model_type": .string(row.type), "num_experts": 128])
    for name in row.expected {
      let found = names.renamed(name)
      #expect(found.names == [name] && found.expert == nil, "\(name)")
    }
  }

  @Test("rotary tables are left out of every model, further layers of one") func leftOut() {
    for type in ["llama", "mixtral", "qwen3_next"] {
      let names = MLXNames.forConfig(["model_type": .string(type)])
      #expect(names.leavesOut("model.layers.0.self_attn.rotary_emb.inv_freq"))
      #expect(!names.leavesOut("model.layers.0.self_attn.q_proj.weight"))
      #expect(names.leavesOut("mtp.layers.0.mlp.gate.weight") == (type == "qwen3_next"))
      #expect(names.keepsTensors == (type == "llama"))
    }
  }

  @Test("the text model of a larger model decides if that has no line") func nested() {
    let config: JSONValue = [
      "model_type": "mistral3", "text_config": ["model_type": "mistral4"],
    ]
    let names = MLXNames.forConfig(config)
    #expect(names.plainReason("language_model.model.layers.0.self_attn.kv_b_proj.weight") != nil)
    #expect(names.plainReason("language_model.model.layers.0.self_attn.o_proj.weight") == nil)
  }

  @Test("a hybrid model without experts has other names") func dense() {
    let name = "model.layers.2.shared_mlp.input_linear.weight"
    let dense = MLXNames.forConfig(["model_type": "granitemoehybrid", "num_local_experts": 0])
    #expect(
      dense.renamed(name).names == [
        "model.layers.2.mlp.gate_proj.weight", "model.layers.2.mlp.up_proj.weight",
      ])
    let sparse = MLXNames.forConfig(["model_type": "granitemoehybrid", "num_local_experts": 4])
    #expect(sparse.renamed(name).names == [name])
  }

  @Test("heads that mlx-lm normalizes need plain numbers") func normalizedHeads() {
    func reason(_ config: JSONValue) -> String? {
      MLXNames.forConfig(config).plainReason("lm_head.weight")
    }
    #expect(reason(["model_type": "bailing_moe", "norm_head": true]) != nil)
    #expect(reason(["model_type": "bailing_moe", "norm_head": false]) == nil)
    #expect(reason(["model_type": "bailing_moe"]) == nil)
    #expect(reason(["model_type": "baichuan_m1"]) != nil)
    #expect(reason(["model_type": "qwen2"]) == nil)
  }

  @Test("matrices that mlx-lm transposes may not be quantized") func transposed() {
    let gpt = MLXNames.forConfig(["model_type": "gpt2"])
    #expect(gpt.groupRefusal("h.11.attn.c_attn.weight") != nil)
    #expect(gpt.groupRefusal("model.h.11.attn.c_attn.weight") == nil)
    let picture = MLXNames.forConfig(["model_type": "qwen3_vl_moe"])
    let name = "model.language_model.layers.0.mlp.experts.gate_up_proj"
    #expect(picture.renamed(name).names.count == 2 && picture.groupRefusal(name) == nil)
  }

  @Test("a text model of Llama 4 with experts has the names of the larger one") func llama4() {
    let name = "model.layers.0.feed_forward.experts.down_proj"
    let text: JSONValue = ["model_type": "llama4_text", "num_local_experts": 0]
    let dense = MLXNames.forConfig(text)
    #expect(dense.renamed(name).names == [name])
    #expect(dense.refusal(name) != nil && dense.refusal("lm_head.weight") != nil)
    #expect(dense.refusal("model.layers.0.feed_forward.down_proj.weight") == nil)
    let sparse = MLXNames.forConfig(text.setting("num_local_experts", to: 4))
    for (name, expected) in [
      (name + ".weight", "language_model." + name + ".weight"),
      ("model.norm.weight", "language_model.model.norm.weight"),
      ("lm_head.weight", "language_model.lm_head.weight"),
    ] {
      #expect(sparse.renamed(name).names == [expected] && sparse.refusal(name) == nil)
    }
    #expect(MLXNames.forConfig(["model_type": "llama4", "text_config": text]).keepsTensors)
  }

  @Test("a convolution was moved if its width is not the last extent") func convolutions() {
    func isMoved(_ name: String, _ shape: Shape) -> Bool {
      MLXNames.isMovedConvolution(TensorInfo(name: name, shape: shape, encoding: .plain(.f16)))
    }
    let name = "model.layers.0.mamba.conv1d.weight"
    #expect(isMoved(name, Shape(24, 4, 1)) && !isMoved(name, Shape(24, 1, 4)))
    #expect(!isMoved(name, Shape(24, 4)) && !isMoved("model.layers.0.D", Shape(24, 4, 1)))
    #expect(MLXNames.forConfig(["model_type": "falcon_h1"]).movesConvolutions)
  }

  @Test("stacks of experts are known by their words, or by their shape") func stacks() {
    func isStack(_ name: String, _ shape: Shape) -> Bool {
      MLXNames.isStack(TensorInfo(name: name, shape: shape, encoding: .plain(.f16)))
    }
    #expect(isStack("model.layers.0.mlp.switch_mlp.up_proj.weight", Shape(4, 8, 8)))
    #expect(isStack("model.layers.0.feed_forward.experts.up_proj.weight", Shape(4, 8, 8)))
    #expect(!isStack("model.layers.0.feed_forward.experts.up_proj.weight", Shape(8, 8)))
    #expect(!isStack("model.layers.0.feed_forward.experts.gate_up_proj", Shape(4, 8, 8)))
  }
}
