# SPDX-License-Identifier: GPL-2.0
# The commands of this repository. All that they make lies under $(BUILD).

override BUILD := $(abspath $(or $(BUILD),build))
SCENARIO ?= default
# Without T, the tests are the scenario's. The base has none of the series' own.
own_tests := folio_mapcount folio_mapcount_audit folio_mapcount_tool anon_exclusive
# By the environment, not as overrides: a kernel Makefile may use the same name.
MAKEOVERRIDES :=
export BUILD SCENARIO T EACH DURATION MIB REPEAT ONLY RUNS KERNEL_TARBALL KERNEL_SRC FORCE FROM \
	V SINCE CHANGES BASE_TARBALL BASE_SRC

series := tools/series/series.sh
guest := tools/guest
runner := $(BUILD)/guest/guest
results := $(BUILD)/results
# Where the pieces of a tree lie; $(1) is patched or base.
kernel_dir = $(BUILD)/kernel/$(1)-$(SCENARIO)
image_dir = $(BUILD)/image/$(1)$(filter-out -x86_64,-$(arch))
kernel_image = $(call kernel_dir,$(1))/arch/$(if $(filter arm64,$(arch)),arm64/boot/Image,x86/boot/bzImage)
# What a scenario file says; $(1) is the key.
scenario_file = $(guest)/scenarios/$(SCENARIO).scenario
scenario_key = $(shell sed -n 's/^$(1)[[:space:]]*=[[:space:]]*//p' $(scenario_file))
arch = $(or $(call scenario_key,arch),x86_64)
tree_patched := $(BUILD)/linux
tree_base := $(BUILD)/linux-base

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
# All of them.
.PHONY: $(shell sed -n '/:=/d; s/^\([a-z][a-z0-9 -]*\):.*/\1/p' Makefile)

help:	## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile
	@echo 'Variables: SCENARIO=$(SCENARIO) T=tests BUILD=, KERNEL_TARBALL= or KERNEL_SRC= (own source)'
	@echo 'Scenarios: $(sort $(basename $(notdir $(wildcard $(guest)/scenarios/*.scenario))))'

run:	## all from an empty machine: KUnit and selftests on the patched kernel
	@tools/lib/steps.sh deps import kernel image kunit selftests

test: EACH := $(or $(EACH),quick)
test:	## what CI runs: every check, build-each, KUnit, selftests
	@tools/lib/steps.sh -k deps check-tools check-runner check-series checkpatch \
		test-user build-each kunit kunit-32 bench-check selftests

# guest_run, $(1): patched or base, $(2): tests, $(3): another tree's programs
guest_run = $(runner) run --scenario $(scenario_file) \
	--kernel $(call kernel_image,$(1)) --image $(call image_dir,$(or $(3),$(1))) \
	--results $(results)/$(1) $(addprefix --test ,$(2)) \
	$(if $(filter base,$(1)),--audit optional) $(addprefix --duration ,$(DURATION))

selftests: kernel-patched image-patched	## T="cow khugepaged", or the scenario's, on the patched kernel
	@$(call guest_run,patched,$(T))

baseline: kernel-base image-base	## the same on the unpatched base
	@$(call guest_run,base,$(or $(T),$(filter-out $(own_tests),$(call scenario_key,tests))))

# Where the kernel has no THP, it has no KUnit tests of what maps large folios.
matrix := debug kasan kcsan ubsan rt nothp nomemcg order0 i386 arm64
matrix_steps := $(filter-out kunit:rt kunit:nothp,$(foreach s,$(matrix),kunit:$(s) selftests:$(s)))
matrix:	## KUnit and selftests on every debug kernel; STEPS="kunit:debug selftests:kasan ..."
	@tools/lib/steps.sh -k deps $(or $(STEPS),$(matrix_steps))

torture: SCENARIO := torture
torture: DURATION := $(or $(DURATION),600)
torture: kernel-patched image-patched	## stress of all kinds, then an audit; DURATION=600, or like 30m
	@$(call guest_run,patched,torture)

audit-base: image-patched base-tree	## the audit on the base: it has to find differences
	@$(guest)/audit-base.sh $(tree_base) $(SCENARIO) $(call image_dir,patched)

bench_image := arch/x86/boot/bzImage
bench_out := $(results)/bench
bench_three = $(patsubst %,%/$(bench_image),base=$(BUILD)/kernel/base-bench \
	nopm=$(BUILD)/kernel/base-bench-nopm series=$(BUILD)/kernel/patched-bench)
bench-kernels:
	@$(MAKE) kernel-base kernel-patched SCENARIO=bench
	@$(MAKE) kernel-base SCENARIO=bench-nopm

bench: bench-kernels	## what the series costs: base, NO_PAGE_MAPCOUNT, series; MIB=64 REPEAT=3 ONLY=fork/2M-ptes
	@tools/bench/bench.sh $(bench_out) $(bench_three)
	@tools/bench/report.sh $(bench_out) $(if $(ONLY)$(filter-out 64,$(MIB)),,results README.md)

bench-native: bench-kernels	## the rmap functions alone, in user space, by order: ns per folio; RUNS=7
	@tools/bench/native/run.sh $(bench_out) $(bench_three:/$(bench_image)=)
	@mkdir -p results && cp $(bench_out)/native.csv $(bench_out)/native.txt results

bench-redis: bench-kernels	## a Redis server that saves itself, on the three kernels; MIB=256
	@tools/bench/redis/redis.sh $(bench_out) $(bench_three)
	@mkdir -p results && cp $(bench_out)/redis.csv $(bench_out)/redis.txt results

bench-check: kernel-patched	## that fork() of large folios still writes to a few struct pages only
	@ONLY=fork/2M-ptes REPEAT=1 tools/bench/bench.sh $(results)/bench-check series=$(call kernel_image,patched)
	@awk -f tools/bench/read.awk -f tools/bench/check.awk $(results)/bench-check/bench.csv | tools/lib/tap-sum.sh

bench-compare: deps	## the same of two kernels of your own: A=bzImage B=bzImage
	@tools/bench/bench.sh $(BUILD)/results/bench-compare a=$(A) b=$(B)
	@tools/bench/report.sh $(BUILD)/results/bench-compare

fails-on-base: kernel-base image-patched	## the series' own selftests on the base: how many cases fail
	@$(call guest_run,base,folio_mapcount,patched)

# All that run_vmtests.sh runs, by category, or by program where a category takes
# long. Not what wants its own kernel module (vmalloc, page_frag), nor two hugetlb
# tests, on any kernel: charge_reserved_hugetlb.sh never ends, and with
# hugetlb_reparenting_test.sh, which patches code by making cgroups, the emulated
# CPU gets lost in an int3 now and then.
# A test that fails here is for the comparison to judge.
compare: SCENARIO := debug
compare: T := cow khugepaged split_huge_page_test transhuge-stress folio_split_race_test \
	rmap ksm ksm_numa gup_test userfaultfd migration compaction mremap mlock mmap \
	pagemap soft_dirty mkdirty madv_populate madv_guard process_madv process_mrelease \
	vma_merge mdwe memfd_secret pfnmap pkey hugevm hmm \
	hugetlb-mmap hugetlb-shm hugetlb-mremap hugetlb-madvise hugetlb_dio \
	hugetlb_fault_after_madv hugetlb_madv_vs_map thuge-gen \
	memory-failure
judged = case $$? in 0 | 1 | 6 | 7 | 8) ;; *) exit 1 ;; esac
compare: kernel-base image-base kernel-patched image-patched	## base against patched, debug kernels: nothing may get worse
	@$(call guest_run,base,$(T)); $(judged)
	@$(call guest_run,patched,$(T)); $(judged)
	@$(runner) compare $(results)/base/latest $(results)/patched/latest

kunit: kernel-patched runner	## KUnit tests on the patched kernel
	@ARCH=$(arch) $(guest)/kunit.sh $(tree_patched) $(call kernel_dir,patched) $(results)/kunit

kunit-32: import runner	## the same on a 32-bit kernel without SMP
	@ARCH=i386 $(guest)/kunit.sh $(tree_patched) $(BUILD)/kernel/kunit-i386 $(results)/kunit

# Of this repository's files: there need be no kernel tree.
user := tools/testing/folio_mapcount
test-user: deps	## the series' code in user space, by gcc and by clang
	@for cc in gcc clang; do \
		mkdir -p $(BUILD)/user/$$cc || exit; \
		{ $(MAKE) -s -C $(user) run CC=$$cc OUT=$(BUILD)/user/$$cc 2>&1 || \
			echo "not ok - $$cc: make run failed"; } >$(BUILD)/user/$$cc.log & \
	done; wait
	@cat $(BUILD)/user/gcc.log $(BUILD)/user/clang.log | tools/lib/tap-sum.sh

mutants: deps	## whether the tests in user space notice faults in the code
	@mkdir -p $(BUILD)/mutants
	@$(MAKE) -s -C $(user) mutants OUT=$(BUILD)/mutants

model: deps	## the lockless protocols, checked by spin, and that it finds their faults
	@tools/model/run.sh

shell: kernel-patched image-patched	## a prompt in the booted patched guest
	@$(runner) shell --scenario $(scenario_file) \
		--kernel $(call kernel_image,patched) --image $(call image_dir,patched)

# A kernel to install. The test is of the small configuration.
deb_out = $(or $(OUT),$(BUILD)/deb$(if $(CONFIG),-config))
deb deb-test: SCENARIO := deb
deb: import	## Debian packages of the patched kernel; CONFIG=/boot/config-version OUT=folder
	@$(guest)/kernel.sh $(tree_patched) $(SCENARIO) $(call kernel_dir,patched)$(if $(CONFIG),-config) \
		"$(deb_out)" $(if $(CONFIG),"$(CONFIG)")

deb_image := $(BUILD)/image/deb
deb-test: override CONFIG :=
deb-test: override OUT :=
deb-test: deb image-patched	## install the package in a Debian root, boot that, and run cow there
	@$(guest)/debian.sh $(deb_out) $(call image_dir,patched) $(deb_image)
	@$(runner) run --scenario $(scenario_file) --kernel $(deb_image)/vmlinuz --image $(deb_image) \
		--results $(results)/patched $(addprefix --test ,$(T))

recheck: runner	## judge the saved logs of the last run again
	@$(runner) recheck $(results)/patched/latest

tree: import	## the patched tree, and where it lies
	@echo $(tree_patched)

kernel: kernel-patched	## the patched kernel of SCENARIO

image: image-patched	## the user space of the guest

image-path:	## where the kernel image of SCENARIO lies
	@echo $(call kernel_image,patched)

kernel-patched: import
kernel-base: base-tree
kernel-patched kernel-base: kernel-%:
	@$(guest)/kernel.sh $(tree_$*) $(SCENARIO) $(call kernel_dir,$*)

# Its architecture and further archives; none for most.
image_args = $(if $(filter-out x86_64,$(arch))$(call scenario_key,archives),$(arch) $(call scenario_key,archives))
image-patched: import runner
image-base: base-tree runner
image-patched image-base: image-%:
	@$(guest)/image.sh $(tree_$*) $(call image_dir,$*) $(image_args)

runner: deps
	@$(MAKE) -s -C $(guest) BUILD=$(BUILD)

fetch: deps	## the pinned kernel source
	@tools/series/fetch.sh

import: deps	## base and patches/ as a git repository; FORCE=1 drops own commits
	@$(series) import

base-tree: deps
	@$(series) base-tree

export:	## branch series to patches/ and the mirrored files
	@$(series) export

check-runner: deps
	@$(MAKE) -s -C $(guest) BUILD=$(BUILD) check

check-tools: deps
	@tools/series/tests/run.sh

check-series: deps	## import then export leaves the repository as it is
	@$(series) check

build-each: deps	## every patch builds; EACH=changed only the new ones, EACH=quick less of it
	@$(series) build-each $(EACH)

checkpatch: deps	## checkpatch --strict and codespell
	@$(series) checkpatch

docs: deps	## kernel-doc and htmldocs of what the series touches: no new warning
	@$(series) docs

bases: deps	## which patches apply to other kernels that Debian has; BASE_TARBALL= or BASE_SRC=: to yours
	@$(series) bases $(if $(BASE_TARBALL)$(BASE_SRC),,results/bases.txt)

mail:	## OUT=folder FROM="Name <mail>": files for git send-email; next: V=2 CHANGES=file
	@$(series) mail "$(OUT)"

deps:	## install what is missing of the Debian packages
	@tools/lib/deps.sh

clean:	## remove what is built, keep source, ccache and results
	rm -rf $(addprefix $(BUILD)/,kernel image kunit guest each docs user mutants deb deb-config)

distclean:	## remove all of BUILD
	rm -rf $(BUILD)
