import Adapters
import Bytes
import TensorModel
import TestSupport
import Testing

/// Settings and tensors that Pleat does not support are refused and named.
@Suite struct PEFTRefusalTests {
  private func fault(
    _ config: JSONValue, _ more: [(name: String, shape: [Int])] = []
  ) -> ModelError? {
    ToyAdapter.peft(
      [("a.lora_A.weight", [2, 16]), ("a.lora_B.weight", [12, 2])] + more, config
    ).fault
  }

  @Test(
    "a tensor without numbers is one that DeepSpeed did not gather",
    arguments: [[0], [0, 16], [2, 0]])
  func emptyTensors(shape: [Int]) {
    let fault = fault([:], [("b.lora_A.weight", shape), ("b.lora_B.weight", [12, 2])])
    #expect(fault?.kind == .malformed && fault?.tensor == "b.lora_A.weight")
    #expect(fault?.hint?.contains("ZeRO-3") == true)
  }

  static let refused: [(String, JSONValue)] = [
    ("layer_replication", [[0, 4], [2, 5]]), ("alora_invocation_tokens", [1, 2]),
    ("use_bdlora", true), ("use_bdlora", ["nblocks": 2]), ("arrow_config", ["top_k": 3]),
    ("kasa_config", ["beta": 1]), ("velora_config", ["num_groups": 1]),
    ("monteclora_config", ["samples": 1]), ("megatron_config", ["heads": 1]),
  ]

  @Test("an unsupported variant of LoRA is refused and named", arguments: refused)
  func variants(key: String, value: JSONValue) {
    let fault = fault(.object([.init(key, value)]))
    #expect(fault?.kind == .unsupported)
    #expect(fault?.found?.hasPrefix("\(key): ") == true)
    #expect(fault?.file == "toy")
  }

  @Test("a variant that is turned off is ignored", arguments: refused.map(\.0))
  func absent(key: String) {
    for value: JSONValue in [.null, false, [], [:], ""] {
      #expect(fault(.object([.init(key, value)])) == nil)
    }
  }

  @Test(
    "an unknown key that looks like a variant is refused",
    arguments: ["use_magic", "magic_config", "use_", "_config"])
  func unknown(key: String) {
    for value: JSONValue in [true, ["a": 1], "yes", 1] {
      let fault = fault(.object([.init(key, value)]))
      #expect(fault?.kind == .unsupported)
      #expect(fault?.found?.contains(key) == true)
    }
    for value: JSONValue in [.null, false, [], [:], ""] {
      #expect(fault(.object([.init(key, value)])) == nil)
    }
  }

  @Test(
    "settings that only describe the training are ignored",
    arguments: [
      "loftq_config", "eva_config", "corda_config", "lora_ga_config", "runtime_config",
      "lora_dropout", "inference_mode", "base_model_name_or_path", "task_type", "revision",
      "layers_to_transform", "layers_pattern", "exclude_modules", "megatron_core", "auto_mapping",
      "peft_version", "ensure_weight_tying", "bias", "modules_to_save", "lora_bias",
    ])
  func training(key: String) {
    for value: JSONValue in [["a": 1], "none", true, 1] {
      #expect(fault(.object([.init(key, value)])) == nil)
    }
  }

  @Test(
    "an initialization that changes the base model is refused, with advice",
    arguments: [
      "pissa", "pissa_niter_16", "PiSSA", "olora", "corda", "loftq", "lora_ga",
    ])
  func initialization(method: String) {
    let fault = fault(["init_lora_weights": .string(method)])
    #expect(fault?.kind == .unsupported)
    #expect(fault?.found?.contains("init_lora_weights \(method.lowercased())") == true)
    #expect(fault?.found?.contains("path_initial_model_for_weight_conversion") == true)
  }

  @Test(
    "an initialization that does not change the base model is accepted",
    arguments: [true, false, .null, "gaussian", "eva", "orthogonal", "default"] as [JSONValue])
  func harmlessInitialization(method: JSONValue) {
    #expect(fault(["init_lora_weights": method]) == nil)
  }

  @Test("DoRA with pooled inputs is refused") func doraOfGroups() {
    let fault = fault(["use_dora": true, "use_qalora": true])
    #expect(fault?.kind == .unsupported)
    #expect(fault?.found?.contains("use_dora with use_qalora") == true)
  }

  @Test(
    "an unknown tensor is refused and named",
    arguments: [
      "a.lora_C.weight", "a.lora_A.weight.scale", "a.lora_A.bias", "a.lora_A.one.two.weight",
      "a.lora_magnitude_vector.bias", "a.other_delta",
      "embed.lora_embedding_C", "a.lora_diag", "a.lora_A.weight.weight",
    ])
  func tensors(name: String) {
    let fault = fault([:], [(name, [2, 2])])
    #expect(fault?.kind == .unsupported)
    #expect(fault?.found?.contains("the tensor '\(name)'") == true)
  }

  @Test("everything that is unsupported is named in one error") func together() {
    let fault = fault(
      [
        "layer_replication": [[0, 1]], "use_magic": true, "init_lora_weights": "pissa",
        "velora_config": ["a": 1],
      ], [("a.lora_C.weight", [2, 2]), ("b.other_delta", [2, 2])])
    for text in [
      "layer_replication", "use_magic", "init_lora_weights", "velora_config", "a.lora_C.weight",
      "b.other_delta",
    ] {
      #expect(fault?.found?.contains(text) == true, "\(text)")
    }
  }

  @Test("of many problems, the first are named and the others counted") func many() {
    let fault = fault([:], (0..<30).map { ("m\($0).lora_C.weight", [2, 2]) })
    #expect(fault?.found?.contains("m7.lora_C.weight") == true)
    #expect(fault?.found?.hasSuffix("and 22 more") == true)
  }
}
