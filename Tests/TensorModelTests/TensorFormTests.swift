import TensorModel
import TestSupport
import Testing

@Suite struct TensorFormTests {
  @Test("forms of equal shape and encoding are equal, whether they share memory or not")
  func equality() {
    let form = TensorForm(shape: Shape(2, 3), encoding: .plain(.f16))
    let same = TensorForm(shape: Shape(2, 3), encoding: .plain(.f16))
    #expect(form == same && form.hashValue == same.hashValue)
    #expect(form != TensorForm(shape: Shape(3, 2), encoding: .plain(.f16)))
    #expect(form != TensorForm(shape: Shape(2, 3), encoding: .plain(.bf16)))
  }

  @Test("a tensor that changes leaves the others of its form as they are") func changes() {
    let first = TensorInfo(name: "a", shape: Shape(2, 3), encoding: .plain(.f16))
    var second = TensorInfo(name: "b", first.form)
    second.shape = Shape(6)
    second.encoding = .plain(.f32)
    #expect(first == TensorInfo(name: "a", shape: Shape(2, 3), encoding: .plain(.f16)))
    #expect(second == TensorInfo(name: "b", shape: Shape(6), encoding: .plain(.f32)))
  }
}
