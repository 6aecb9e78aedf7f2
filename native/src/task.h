// Work off the event loop that settles a promise. C++ exceptions become rejections; none crosses the border.
#pragma once
#include <napi.h>

#include <functional>
#include <initializer_list>
#include <vector>

namespace lapidary {

class Task : public Napi::AsyncWorker {
 public:
  using Work = std::function<void()>;                     // on a worker thread: no JavaScript
  using Finish = std::function<Napi::Value(Napi::Env)>;  // back on the JavaScript thread

  // Keeps `held` alive until the work is done: the typed arrays it reads or writes.
  static Napi::Promise start(Napi::Env env, std::initializer_list<Napi::Value> held, Work work, Finish finish) {
    Task* task = new Task(env, std::move(work), std::move(finish));
    for (const Napi::Value& value : held)
      if (value.IsObject()) task->held_.push_back(Napi::Persistent(value.As<Napi::Object>()));
    const Napi::Promise promise = task->deferred_.Promise();
    task->Queue();
    return promise;
  }

 protected:
  void Execute() override {
    try {
      work_();
    } catch (const std::bad_alloc&) {
      SetError("out of memory");
    } catch (const std::exception& error) {
      SetError(error.what());
    }
  }

  void OnOK() override {
    settle([this] {
      try {
        deferred_.Resolve(finish_(Env()));
      } catch (const Napi::Error& error) {
        deferred_.Reject(error.Value());
      } catch (const std::exception& error) {
        deferred_.Reject(Napi::Error::New(Env(), error.what()).Value());
      }
    });
  }

  void OnError(const Napi::Error& error) override {
    settle([&] { deferred_.Reject(error.Value()); });
  }

 private:
  Task(Napi::Env env, Work work, Finish finish)
      : Napi::AsyncWorker(env),
        deferred_(Napi::Promise::Deferred::New(env)),
        work_(std::move(work)),
        finish_(std::move(finish)) {}

  // A worker thread that was terminated meanwhile has nobody to tell, and every call into it fails.
  template <class Tell>
  static void settle(Tell tell) {
    try {
      tell();
    } catch (...) {
    }
  }

  Napi::Promise::Deferred deferred_;
  std::vector<Napi::ObjectReference> held_;
  Work work_;
  Finish finish_;
};

}  // namespace lapidary
