import Architectures
import TensorModel
import Testing

@Suite struct TensorFamilyTests {
  private static func families(_ names: [String]) -> TensorFamilies {
    TensorFamilies(
      names.map { TensorInfo(name: $0, shape: Shape(4, 8), encoding: .plain(.f16)) })
  }

  @Test("experts of one layer and one matrix are a family, in the order of the tensors")
  func experts() {
    let found = Self.families([
      "layers.0.mlp.experts.0.up_proj.weight", "layers.0.mlp.gate.weight",
      "layers.0.mlp.experts.10.up_proj.weight", "layers.1.mlp.experts.0.up_proj.weight",
      "layers.0.mlp.experts.1.down_proj.weight", "layers.0.mlp.experts.9.up_proj.weight",
    ])
    #expect(
      found.families.map(\.pattern) == [
        "layers.0.mlp.experts.*.up_proj.weight", "layers.0.mlp.gate.weight",
        "layers.1.mlp.experts.*.up_proj.weight", "layers.0.mlp.experts.*.down_proj.weight",
      ])
    #expect(found.families.map(\.first) == [0, 1, 3, 4])
    #expect(found.families.map(\.isOfExperts) == [true, false, true, true])
    #expect(found.members.map(\.family) == [0, 1, 0, 2, 3, 0])
    #expect(found.members.map(\.expert) == [0, nil, 10, 0, 1, 9])
    #expect(found.representatives.map(\.name) == [0, 1, 3, 4].map { found.tensors[$0].name })
  }

  @Test(
    "names without the number of one expert are alone",
    arguments: [
      "experts.01.w1.weight", "experts.x.w1.weight", "experts..w1.weight", "experts.1",
      "shared_experts.1.weight", "experts.1234567890.w1.weight", "experts.*.w1.weight",
      "experts.1.experts.2.weight", "experts.", "", "a.experts.-1.w", "experts.1é.w",
    ]) func others(_ name: String)
  {
    let found = Self.families([name, "experts.1.w1.weight"])
    #expect(found.members.map(\.expert) == [nil, 1])
    #expect(found.families.map(\.pattern) == [name, "experts.*.w1.weight"])
    #expect(found.families.map(\.isOfExperts) == [false, true])
  }

  @Test("an expert of another shape is no member") func shapes() {
    let tensors = [(0, 8), (1, 16), (2, 8)].map { number, columns in
      TensorInfo(
        name: "experts.\(number).w1.weight", shape: Shape(4, columns), encoding: .plain(.f16))
    }
    let found = TensorFamilies(tensors)
    #expect(found.members.map(\.family) == [0, 1, 2])
    #expect(Set(found.families.map(\.pattern)) == ["experts.*.w1.weight"])
  }
}
